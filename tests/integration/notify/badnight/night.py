"""One night: a run of a notice, planned, sent and reported while its servers have a fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer

from psycopg.rows import scalar_row

from etl.alerts.alert import AlertKind
from etl.alerts.context import CallbackRun
from etl.alerts.decide import AlertCheck, enqueue_due_alert
from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.errors import RetryAfter
from etl.notify.plan import plan_run
from etl.notify.report import NoticeRunFailed, report_run, require_delivered
from etl.notify.send import send
from etl.notify.store import runs
from etl.notify.templates import Templates
from tests.integration.notify.badnight.faults import DESTINATIONS, ILL_DESTINATION, Fault
from tests.integration.notify.badnight.oracle import Evidence, check_night
from tests.integration.notify.badnight.servers import Servers, start_servers
from tests.integration.notify.badnight.short_times import shorten_times
from tests.integration.notify.notice_harness import FAST, enrol

SENDERS = 2
"""Chunks of a run, which are sent at the same time, each over a connection of its own."""

MAX_DURATION = timedelta(minutes=5)
"""A run that has not ended then never will."""

DAG_RUN = "manual__1"


@dataclass(frozen=True)
class Night:
    """What became of a run.

    Parameters
    ----------
    evidence
        What the servers and the ledger say.
    seconds
        From the plan to the report.
    healthy_seconds
        Until the last message to a healthy destination had been accepted.
    attempts
        Messages that were begun, accepted or not.
    reschedules
        How often a task gave its slot back.
    violations
        What contradicts a promise.
    """

    evidence: Evidence
    seconds: float
    healthy_seconds: float
    attempts: int
    reschedules: int
    violations: list[str]


def play(
    fault: Fault,
    *,
    recipients: int,
    seed: int,
    connect: Callable[[], Connection],
    limiter: Limiter,
    folder: Path,
) -> Night:
    """Send a run to so many recipients while its servers have a fault, and compare what they accepted with the ledger.

    Parameters
    ----------
    connect
        Opens one more connection to an empty warehouse.
    folder
        Where templates are written.
    """
    db = connect()
    notice = _declare(fault, recipients)
    templates = _write_templates(notice, folder)
    with start_servers(fault, seed) as servers, shorten_times():
        users = _enrol(db, fault, recipients, servers)
        started_at = time.monotonic()
        planned = plan_run(notice, "2026-10", trigger=DAG_RUN, as_of=datetime.now(UTC), db=db, templates=templates)
        runs.save_dag_run(db, planned.run_id, DAG_RUN)
        with _healing(fault, servers), ThreadPoolExecutor(len(planned.ordinals)) as pool:
            senders = (
                _ChunkSender(notice, planned.run_id, connect(), limiter, servers, templates) for _ in planned.ordinals
            )
            reschedules = sum(pool.map(_ChunkSender.send_to_the_end, senders, planned.ordinals))
        totals = report_run(notice, planned.run_id, db=db)
        seconds = time.monotonic() - started_at
        mail = _read_alert(db, planned.run_id)
        evidence = Evidence(fault, users, servers.read_accepted(), totals, runs.find(db, planned.run_id).state, mail)
        return Night(
            evidence,
            seconds,
            _read_healthy_seconds(db, planned.run_id),
            servers.read_attempts(),
            reschedules,
            check_night(evidence, planned.run_id, db),
        )


def _declare(fault: Fault, recipients: int) -> Notice:
    expiry = fault.expiry and fault.expiry + timedelta(milliseconds=2) * recipients
    return replace(
        FAST,
        channels=(fault.channel,),
        pace=5_000,
        chunk_size=-(-recipients // SENDERS),
        expiry=expiry,
        patience=fault.patience,
        max_tries=200,
    )


def _write_templates(notice: Notice, folder: Path) -> Templates:
    (notice_folder := folder / notice.name).mkdir(parents=True, exist_ok=True)
    for name in notice.template_names:
        (notice_folder / name).write_text("text")
    return Templates(notice, folder)


def _enrol(db: Connection, fault: Fault, recipients: int, servers: Servers) -> list[int]:
    users = enrol(db, recipients)
    db.execute("delete from notify.contacts")
    reachable = [user for user in users if not fault.is_ill_left_out or user % DESTINATIONS != ILL_DESTINATION]
    with db.cursor() as cursor:
        cursor.executemany(
            "insert into notify.contacts (user_id, channel, address) values (%s, %s, %s)",
            [(user, fault.channel.name, servers.address_of(user)) for user in reachable],
        )
    return reachable


@contextmanager
def _healing(fault: Fault, servers: Servers) -> Iterator[None]:
    timer = Timer(fault.heals_after.total_seconds(), servers.heal) if fault.heals_after else None
    if timer:
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()


@dataclass(frozen=True)
class _ChunkSender:
    """Sends chunks as Airflow does, over a connection of its own."""

    notice: Notice
    run_id: int
    db: Connection
    limiter: Limiter
    servers: Servers
    templates: Templates

    def send_to_the_end(self, ordinal: int) -> int:
        """Send a chunk, again after each wait that it asks for; return how often it asked."""
        ends_at = time.monotonic() + MAX_DURATION.total_seconds()
        reschedules = 0
        while True:
            try:
                send(
                    self.notice,
                    self.run_id,
                    ordinal,
                    db=self.db,
                    limiter=self.limiter,
                    senders=self.servers.senders(),
                    templates=self.templates,
                )
            except RetryAfter as later:
                if time.monotonic() > ends_at:
                    raise
                reschedules += 1
                time.sleep(max(later.wait.total_seconds(), 0.01))
            else:
                return reschedules


def _read_healthy_seconds(db: Connection, run_id: int) -> float:
    with db.cursor(row_factory=scalar_row) as cursor:
        seconds = cursor.execute(
            "select extract(epoch from max(d.ended_at) - min(r.planned_at)) from notify.deliveries as d "
            "join notify.runs as r using (run_id) "
            "where run_id = %s and d.state = 'sent' and d.user_id %% %s <> %s",
            [run_id, DESTINATIONS, ILL_DESTINATION],
        ).fetchone()
    return float(seconds or 0)


def _read_alert(db: Connection, run_id: int) -> str:
    """Return the mail about a run that failed, if its Dag run fails."""
    try:
        require_delivered(run_id, db=db)
    except NoticeRunFailed:
        run = CallbackRun(f"notify_{FAST.name}", DAG_RUN, "manual", "failed", "http://ui/run", datetime.now(UTC))
        mail = enqueue_due_alert(AlertCheck(run, AlertKind.FAILED, datetime.now(UTC)), db=db, metadata_db=None)
        return mail.body if mail else ""
    return ""
