"""`python -m benchmarks.urgent`: how soon urgent tasks start while three hundred others wait, and while none does.

Runs through Airflow and its Celery workers, as in production. A start lasts from the request for a run until its task
runs. During the backlog, every process of the low-priority workers is busy with the transform of a raw batch.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from subprocess import PIPE, STDOUT, Popen
from typing import Annotated

import typer
from rich.console import Console
from upath import UPath

from benchmarks.support import batches, home, known_limits, plaid_pages, result
from benchmarks.support.result import BenchmarkResult
from dev.demo.airflow_api import AirflowApi
from dev.servers.bank import Sandbox
from dev.stack.airflow_environment import ADMIN
from dev.stack.home import REPOSITORY
from dev.stack.plan import StackOptions
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.catalog.queues import LOW_PRIORITY
from etl.db.connection import connect_url, connect_warehouse

STARTS, QUICK_STARTS = 40, 5
"""Urgent starts per side."""
ROWS = 150_000
"""Transactions of the raw batch that the backlog transforms."""
MIN_BACKLOG = 300
"""Lower bound of the transforms that still wait at the end; more do at the beginning."""
MAX_RATIO, MAX_P95_SECONDS = 1.5, 2.0
"""Goals: p95 during the backlog over p95 of the idle system, and p95 during the backlog in seconds."""

_DAY = date(2026, 1, 1)
_BUNDLES = [
    {"name": name, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": str(path)}}
    for name, path in (("dags-folder", REPOSITORY / "dags"), ("benchmarks", REPOSITORY / "benchmarks" / "dags"))
]
_STARTED = "select run_id, start_date from task_instance where dag_id = 'urgent' and run_id = any(%s)"
_COUNT_RUNNING = "select count(*) from task_instance where dag_id like 'backlog%%' and state = 'running'"
_COUNT_UNFINISHED = (
    "select count(*) from task_instance where dag_id = 'backlog' "
    "and (state is null or state in ('scheduled', 'queued', 'running'))"
)


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Measure fewer starts; save nothing.")] = False,
) -> None:
    """Measure, print and save the result; end with exit code 1 if the goal is missed."""
    console = Console(soft_wrap=True)
    starts = QUICK_STARTS if quick else STARTS
    with home.temporary() as folder:
        stack = up(
            folder,
            caller_environment=home.caller_environment(
                AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(_BUNDLES)
            ),
            options=StackOptions(Sandbox("benchmarks", opened=_DAY, day=_DAY), ui_port=None),
            say=console.print,
        )
        raw_id = _seal_raw_batch(stack)
        with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow:
            for dag_id in ("urgent", "backlog", "backlog_of_the_past"):
                airflow.wait_for_dag(dag_id)
                airflow.unpause(dag_id)
            _measure_starts(airflow, stack, 3)  # the first tasks of new workers are slower
            idle = _measure_starts(airflow, stack, starts)
            with _backlog(airflow, stack, raw_id, console=console):
                busy = _measure_starts(airflow, stack, starts)
                running, waiting = (_count(stack, query) for query in (_COUNT_RUNNING, _COUNT_UNFINISHED))
    console.print(f"At the end {running} transforms ran, and {waiting} of the backlog were not finished.")
    if waiting < MIN_BACKLOG:
        sys.exit(
            f"error: fewer than {MIN_BACKLOG} transforms waited when the last urgent task started; "
            "increase BACKLOG in benchmarks/dags/urgent.py"
        )
    urgent_result = _result(idle, busy)
    result.show([urgent_result], console)
    if not quick:
        result.append([urgent_result], command="python -m benchmarks.urgent")
        sys.exit(0 if urgent_result.reached else 1)


def _seal_raw_batch(stack: Stack) -> int:
    """Seal the raw batch that all tasks of the backlog transform."""
    root = UPath(stack.environment["SLUICE_RAW_ROOT"])
    with connect_warehouse(stack.environment) as db:
        accounts = batches.enrol(db, 1)
        return batches.seal(
            db,
            root,
            TRANSACTIONS,
            accounts,
            lambda login: plaid_pages.feed(login, records=ROWS, merchants=500),
            source=TRANSACTIONS_SYNC.name,
            at=datetime.now(UTC),
        )


def _measure_starts(airflow: AirflowApi, stack: Stack, count: int) -> list[float]:
    """Trigger urgent runs, one after the other, and return the seconds that each took to start."""
    requested_at: dict[str, datetime] = {}
    for _ in range(count):
        now = datetime.now(UTC)
        run = airflow.trigger("urgent")
        requested_at[run.run_id] = now
        while airflow.get_run("urgent", run.run_id).state not in ("success", "failed"):
            time.sleep(0.2)
    with connect_url(stack.metadata_url) as db:
        rows = db.execute(_STARTED, (list(requested_at),)).fetchall()
    return [(started_at - requested_at[run_id]).total_seconds() for run_id, started_at in rows]


@contextmanager
def _backlog(airflow: AirflowApi, stack: Stack, raw_id: int, *, console: Console) -> Iterator[None]:
    """Queue transforms on every low-priority queue, start a backfill of more, and wait until all processes are busy."""
    conf = {"raw_id": raw_id}
    airflow.trigger("backlog", **conf)
    period = ("--dag-id", "backlog_of_the_past", "--from-date", "2025-01-01", "--to-date", "2025-03-01")
    options = ("--dag-run-conf", json.dumps(conf), "--max-active-runs", "4")
    with Popen(
        ["airflow", "backfill", "create", *period, *options],
        env=dict(stack.environment),
        stdout=PIPE,
        stderr=STDOUT,
        text=True,
    ) as backfill:
        deadline = time.monotonic() + timedelta(minutes=5).total_seconds()
        while _count(stack, _COUNT_RUNNING) < LOW_PRIORITY.processes:
            if time.monotonic() > deadline:
                sys.exit(
                    f"error: only {_count(stack, _COUNT_RUNNING)} processes are busy after five minutes\n"
                    f"{backfill.communicate()[0][-2000:]}"
                )
            time.sleep(0.5)
        console.print(
            f"{_count(stack, _COUNT_RUNNING)} transforms run, and "
            f"{_count(stack, _COUNT_UNFINISHED)} of the backlog are not finished."
        )
        yield
        backfill.kill()


def _count(stack: Stack, query: str) -> int:
    with connect_url(stack.metadata_url) as db:
        ((count,),) = db.execute(query.encode()).fetchall()
    return int(count)


def _result(idle: list[float], busy: list[float]) -> BenchmarkResult:
    p95 = {side: statistics.quantiles(seconds, n=20)[-1] for side, seconds in (("idle", idle), ("busy", busy))}
    ratio = p95["busy"] / p95["idle"]
    detail = {
        **{f"p95_seconds_{side}": round(value, 3) for side, value in p95.items()},
        "median_seconds_idle": round(statistics.median(idle), 3),
        "median_seconds_busy": round(statistics.median(busy), 3),
        "starts_a_side": len(busy),
    }
    return BenchmarkResult(
        f"urgent start under a backlog of {MIN_BACKLOG} transforms, p95 over p95 of the idle system",
        f"<= {MAX_RATIO} x, <= {MAX_P95_SECONDS:g} s",
        f"{ratio:.2f} x, {p95['busy']:.2f} s",
        ratio <= MAX_RATIO and p95["busy"] <= MAX_P95_SECONDS,
        detail,
        known_limits.URGENT,
    )


if __name__ == "__main__":
    typer.run(main)
