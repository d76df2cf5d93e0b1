"""Alert mails about deadlines, from real runs, through a real mail server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from etl.alerts.context import CallbackRun, find_failures, gather_run_context
from etl.catalog.queues import ETL
from etl.db.connection import connect, connect_warehouse
from etl.settings import Endpoint

Rows = Callable[..., list[tuple[object, ...]]]
PAST = "deadline_past"
BROKEN = "deadline_broken"
LATE = "deadline_late"


_PLAN = (
    "insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size, attempts) "
    "select 'accounts', %s, n, 1 + 50 * n, 51 + 50 * n, 500, 1 from generate_series(0, 3) as n"
)
_LOAD_ONE = (
    "with sealed as (insert into etl.raw_batches "
    "(source, chunk_id, attempt, content_hash, path, accounts, pages, bytes) "
    "select 'deadline_alerts', chunk_id, 1, '', '', 0, 0, 0 from etl.chunks "
    "where entity = 'accounts' and run_id = %s and ordinal = 0 "
    "returning raw_id) "
    "insert into etl.loads select raw_id, 'accounts', 2, 0, 0, 0, 0, 0, 0, 0, 0 from sealed"
)


class Mailbox:
    """Mails about the Dags of this test that the stack's mail server has stored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mails(self, dag_id: str) -> list[EmailMessage]:
        mails = (message_from_string(path.read_text(), policy=default) for path in sorted(self._folder.glob("*.eml")))
        return [mail for mail in mails if str(mail["Subject"]).startswith(f"{dag_id} ")]

    def wait_for(self, dag_id: str, count: int, *, seconds: float) -> list[EmailMessage]:
        deadline = time.monotonic() + seconds
        while len(self.mails(dag_id)) < count and time.monotonic() < deadline:
            time.sleep(0.5)
        return self.mails(dag_id)


def text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def backfill(stack: Stack, dag_id: str, first: str, last: str) -> subprocess.Popen[str]:
    options = ("--dag-id", dag_id, "--from-date", first, "--to-date", last, "--max-active-runs", "30")
    return subprocess.Popen(
        ["airflow", "backfill", "create", *options],
        env=dict(stack.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def session(stack: Stack) -> Iterator[AirflowApi]:
    with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as api:
        yield api


def first_scheduled_run(api: AirflowApi, dag_id: str) -> DagRun:
    return api.wait_for_new_run(dag_id, api.unpause(dag_id), seconds=60)


@pytest.fixture(scope="module")
def box(airflow_stack: Stack) -> Mailbox:
    return Mailbox(Path(airflow_stack.home) / "mails")


@pytest.fixture(scope="module")
def runs(airflow_stack: Stack, box: Mailbox) -> dict[str, DagRun]:
    """Return the scheduled runs after all alerts about them were sent."""
    with session(airflow_stack) as api:
        for dag_id in (LATE, BROKEN, PAST):
            api.wait_for_dag(dag_id)
        started = {dag_id: first_scheduled_run(api, dag_id) for dag_id in (LATE, BROKEN)}
        with connect_warehouse(airflow_stack.environment) as db:
            for statement in (_PLAN, _LOAD_ONE):
                db.execute(statement, [started[LATE].run_id])
        api.unpause(PAST)
        # Wait first: the backfills keep the machine busy, and would delay the start of the run.
        box.wait_for(LATE, 1, seconds=60)
        backfills = [
            backfill(airflow_stack, PAST, "2026-10-01", "2026-10-30"),
            backfill(airflow_stack, BROKEN, "2026-10-01", "2026-10-02"),
        ]
        box.wait_for(LATE, 2, seconds=75)
        with connect_warehouse(airflow_stack.environment) as db:
            db.execute("create table public.gate ()")
        box.wait_for(LATE, 3, seconds=40)
        for created in backfills:
            output, _ = created.communicate(timeout=60)
            assert created.returncode == 0, output
        return {dag_id: api.get_run(dag_id, run.run_id) for dag_id, run in started.items()}


def test_a_late_run_sends_one_forecast_one_missed_and_one_recovered_alert(
    runs: dict[str, DagRun], airflow_stack: Stack, box: Mailbox
) -> None:
    subjects = [str(mail["Subject"]) for mail in box.mails(LATE)]
    assert len(subjects) == 3, subjects
    forecast, missed, recovered = box.mails(LATE)
    assert subjects[0].startswith(f"{LATE} is going to be late by about ")
    assert subjects[1].startswith(f"{LATE} is late, expected at ")
    assert subjects[2].startswith(f"{LATE} is done, ")
    assert subjects[2].endswith(" late")
    assert "1 of 4 chunks loaded in " in text(forecast)
    assert "- wait_for_the_gate, " in text(missed)
    link = f"{airflow_stack.ui_url}/dags/{LATE}/runs/scheduled__"
    assert all(link in text(mail) for mail in (forecast, missed, recovered))
    assert runs[LATE].state == "success"


def test_a_failed_run_sends_one_alert_with_its_error_and_none_about_its_deadline(
    runs: dict[str, DagRun], box: Mailbox, metadata: Rows
) -> None:
    callback_states = (
        "select c.state from deadline as d join callback as c on c.id = d.callback_id "
        "join dag_run as r on r.id = d.dagrun_id where r.dag_id = %s and r.run_id = %s"
    )
    deadline = time.monotonic() + 60
    while metadata(callback_states, BROKEN, runs[BROKEN].run_id) != [("success",)] * 4 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert metadata(callback_states, BROKEN, runs[BROKEN].run_id) == [("success",)] * 4
    (mail,) = box.mails(BROKEN)
    assert mail["Subject"] == f"{BROKEN} failed: InvalidTextRepresentation from read_a_value"
    assert "a value is bad (InvalidTextRepresentation)" in text(mail)
    assert "Jane" not in mail.as_string()


def test_a_backfill_of_thirty_days_sends_no_mail_and_has_no_deadline(
    runs: dict[str, DagRun], box: Mailbox, metadata: Rows
) -> None:
    deadline = time.monotonic() + 60
    finished: list[tuple[object, ...]] = []
    while len(finished) < 32 and time.monotonic() < deadline:
        time.sleep(1)
        finished = metadata(
            "select dag_id, state from dag_run where run_type = 'backfill' and dag_id like 'deadline%%' "
            "and state in ('success', 'failed')"
        )
    assert finished.count((PAST, "success")) == 30
    assert finished.count((BROKEN, "failed")) == 2
    assert metadata(
        "select count(*) from deadline as d join dag_run as r on r.id = d.dagrun_id where r.run_type = 'backfill'"
    ) == [(0,)]
    assert box.mails(PAST) == []
    assert len(box.mails(BROKEN)) == 1


def test_sent_alerts_are_recorded(runs: dict[str, DagRun], airflow_stack: Stack) -> None:
    with connect_warehouse(airflow_stack.environment) as db:
        alerts = db.execute(
            "select dag_id, kind from etl.promises where sent_at is not null and dag_id like 'deadline%' order by 1, 2"
        ).fetchall()
    assert alerts == [(BROKEN, "failed"), (LATE, "forecast"), (LATE, "missed"), (LATE, "recovered")]


def test_a_task_that_ended_without_an_error_is_reported_as_such(runs: dict[str, DagRun], airflow_stack: Stack) -> None:
    run = CallbackRun(BROKEN, runs[BROKEN].run_id, "scheduled", "failed", "")
    endpoints = [Endpoint.from_environment(name, airflow_stack.environment) for name in ("warehouse", "airflow_db")]
    with connect(endpoints[0]) as db, connect(endpoints[1]) as metadata:
        context = gather_run_context(run, db=db, metadata_db=metadata)
        (failure,) = find_failures(context, db=db)
        assert failure.error_type == "InvalidTextRepresentation"
        assert context.pools["etl"].slots == ETL.slots
        assert context.has_ended
        with db.transaction(force_rollback=True):
            db.execute("update etl.failures set attempt = 0 where dag_id = %s", [BROKEN])
            (without_error,) = find_failures(context, db=db)
        assert (without_error.task_id, without_error.error_type) == ("read_a_value", "")


def test_a_run_is_due_at_the_end_of_its_interval_unless_its_dag_is_new_or_was_paused(airflow_stack: Stack) -> None:
    script = Path(__file__).with_name("run_due.py")
    environment = {**airflow_stack.environment}
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}:{environment['AIRFLOW__CORE__PLUGINS_FOLDER']}"
    done = subprocess.run([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "first": "15:00:00",
        "next": "0:00:00",
        "after a gap": "15:00:00",
        "triggered": "15:00:00",
        "backfill": "never",
        "manual": "never",
    }
