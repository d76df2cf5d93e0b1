"""`python -m benchmarks.backfill`: how much longer today's run takes during a backfill.

Runs through Airflow and its Celery workers, as in production, with the demo's sandbox bank. Today's run of transactions
reads all feeds from their beginning each time: alone and during a backfill of 60 days, alternately. It is triggered
instead of scheduled, so that it starts at once; pool and priority weight are the same. The goal applies to backfills of
one run at a time, as `docs/queues.md` advises; Airflow's default, ten at a time, is measured too, without a goal.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console

from benchmarks.support import home, result
from benchmarks.support.result import BenchmarkResult, Spread
from dev.demo.airflow_api import AirflowApi, AirflowTimeout, DagRun
from dev.demo.enrol import enrol
from dev.demo.syncs import dag_id_of
from dev.stack.airflow_environment import ADMIN
from dev.stack.plan import StackOptions
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import connect_url, connect_warehouse

DAYS = 60
USERS = 240
REPETITIONS = 2
BACKFILL_RUNS = (1, 10)
"""Concurrent runs of a backfill."""
MAX_RATIO = 1.3
"""Upper bound of the time of today's run during a backfill, as a multiple of its time alone."""

_DAG = dag_id_of(TRANSACTIONS)
_MAX_WAIT = timedelta(minutes=15)
_POLL = timedelta(seconds=0.5)
_DURATION = (
    "select extract(epoch from end_date - queued_at)::float from dag_run where run_id = %s and state = 'success'"
)
_SELECT_ENDED_TASK = (
    "select 1 from task_instance as t inner join dag_run as r using (dag_id, run_id) "
    "where r.backfill_id = %s and t.task_id like 'chunk.%%' and t.end_date is not null limit 1"
)
_SELECT_RUNNING_TASK = "select 1 from task_instance where state in ('queued', 'running') limit 1"
_CANCEL_DELAY = timedelta(seconds=15)
"""A task learns only at its next heartbeat that its run was ended."""

Metadata = psycopg.Connection[tuple[Any, ...]]
"""Airflow's own database."""
Timing = tuple[float, float, float]
"""Seconds of a run alone, during a backfill of one run at a time, and during a backfill of ten."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Measure once; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    with home.temporary() as folder:
        stack = up(
            folder, caller_environment=home.caller_environment(), options=StackOptions(ui_port=None), say=console.print
        )
        enrol(USERS, environment=stack.environment)
        timings = _measure(stack, 1 if quick else REPETITIONS, console=console)
    ratio = Spread.of([with_one / alone for alone, with_one, _ in timings])
    detail = {
        "seconds_alone_and_beside_one_and_ten_runs": [[round(seconds, 1) for seconds in timing] for timing in timings],
        "ratio_beside_ten_runs": str(Spread.of([with_ten / alone for alone, _, with_ten in timings])),
    }
    name = f"today's run beside a backfill of {DAYS} days, {USERS} logins"
    results = [BenchmarkResult(name, f"<= {MAX_RATIO} x alone", f"{ratio} x", ratio.median <= MAX_RATIO, detail)]
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.backfill")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure(stack: Stack, repetitions: int, *, console: Console) -> list[Timing]:
    """Time today's run alone and during backfills, alternately; no two backfills cover the same day."""
    timings: list[Timing] = []
    last = datetime.now(UTC).date() - timedelta(days=2)
    with (
        AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow,
        connect_url(stack.metadata_url) as metadata,
    ):
        airflow.wait_for_dag(_DAG)
        _wait_for_duration(airflow, airflow.start_run(_DAG), metadata)
        for repetition in range(repetitions):
            alone = _run_today(airflow, stack, metadata)
            during_backfill = []
            for max_active_runs in BACKFILL_RUNS:
                first, last = last - timedelta(days=DAYS), last - timedelta(days=1)
                backfill = airflow.backfill(_DAG, first, last, max_active_runs=max_active_runs)
                _wait_for_first_task(metadata, backfill)
                during_backfill.append(_run_today(airflow, stack, metadata))
                airflow.cancel_backfill(backfill, _DAG)
                _wait_until_idle(metadata)
                last = first
            timings.append((alone, during_backfill[0], during_backfill[1]))
            summary = ", ".join(
                f"{seconds:.1f} s during a backfill of {runs} at a time"
                for runs, seconds in zip(BACKFILL_RUNS, during_backfill, strict=True)
            )
            console.print(f"{repetition + 1} of {repetitions}: {alone:.1f} s alone, {summary}")
    return timings


def _run_today(airflow: AirflowApi, stack: Stack, metadata: Metadata) -> float:
    """Trigger a run that reads all feeds from their beginning, and return its duration in seconds."""
    with connect_warehouse(stack.environment) as db:
        db.execute("update etl.cursors set value = ''")
    return _wait_for_duration(airflow, airflow.trigger(_DAG), metadata)


def _wait_for_duration(airflow: AirflowApi, run: DagRun, metadata: Metadata) -> float:
    """Wait for a run and return the seconds from its queueing to its end."""
    began = time.monotonic()
    while airflow.get_run(_DAG, run.run_id).state not in ("success", "failed"):
        if time.monotonic() - began > _MAX_WAIT.total_seconds():
            raise AirflowTimeout(f"the end of {run.run_id}", _MAX_WAIT.total_seconds())
        time.sleep(_POLL.total_seconds())
    row = metadata.execute(_DURATION, (run.run_id,)).fetchone()
    if row is None:
        sys.exit(f"error: {_DAG}, run {run.run_id}, failed")
    return float(row[0])


def _wait_for_first_task(metadata: Metadata, backfill: int) -> None:
    """Wait until the first task of a backfill's chunks has ended."""
    began = time.monotonic()
    while not metadata.execute(_SELECT_ENDED_TASK, (backfill,)).fetchone():
        if time.monotonic() - began > _MAX_WAIT.total_seconds():
            raise AirflowTimeout("the first task of the backfill", _MAX_WAIT.total_seconds())
        time.sleep(_POLL.total_seconds())


def _wait_until_idle(metadata: Metadata) -> None:
    """Wait until no task runs and the cancelled tasks have noticed it."""
    while metadata.execute(_SELECT_RUNNING_TASK).fetchone():
        time.sleep(_POLL.total_seconds())
    time.sleep(_CANCEL_DELAY.total_seconds())


if __name__ == "__main__":
    typer.run(main)
