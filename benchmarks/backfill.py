"""`python -m benchmarks.backfill`: how much longer today's run takes while a backfill is under way.

Through Airflow and its Celery workers, as in production, with the sandbox bank of the demo. Today's run of transactions
reads all feeds from their beginning, every time; by itself, and while a backfill of 60 days is at work, in turns. It is
triggered rather than scheduled, to be there on the second; pool and weights are the same. The goal is for backfills of
one run at a time, which the README asks for; what Airflow does if it is not asked, ten at a time, is kept beside it.
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
from benchmarks.support.result import Result, Spread
from dev.demo.airflow_api import AirflowApi, AirflowTimeout, DagRun
from dev.demo.enrol import enrol
from dev.demo.syncs import dag_id_of
from dev.stack.airflow_environment import ADMIN
from dev.stack.plan import StackOptions
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import connect_warehouse

DAYS = 60
USERS = 240
REPETITIONS = 2
BACKFILL_RUNS = (1, 10)
"""Runs of a backfill at the same time."""
MAX_RATIO = 1.3
"""Most that today's run may take beside a backfill, as a multiple of its time alone."""

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
"""A task hears at its next heartbeat that its run was ended."""

Metadata = psycopg.Connection[tuple[Any, ...]]
"""Airflow's own database."""
Timing = tuple[float, float, float]
"""Seconds of a run alone, beside a backfill of one run at a time, and of ten."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Once; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    with home.temporary() as folder:
        stack = up(
            folder, caller_environment=home.caller_environment(), options=StackOptions(ui_port=None), say=console.print
        )
        enrol(USERS, environment=stack.environment)
        turns = _measure(stack, 1 if quick else REPETITIONS, console=console)
    ratio = Spread.of([beside / alone for alone, beside, _ in turns])
    detail = {
        "seconds_alone_and_beside_one_and_ten_runs": [[round(seconds, 1) for seconds in turn] for turn in turns],
        "ratio_beside_ten_runs": str(Spread.of([beside / alone for alone, _, beside in turns])),
    }
    name = f"today's run beside a backfill of {DAYS} days, {USERS} logins"
    results = [Result(name, f"<= {MAX_RATIO} x alone", f"{ratio} x", ratio.median <= MAX_RATIO, detail)]
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.backfill")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure(stack: Stack, repetitions: int, *, console: Console) -> list[Timing]:
    """Let today's run happen alone and beside backfills, in turns; each backfill has days of its own."""
    turns: list[Timing] = []
    last = datetime.now(UTC).date() - timedelta(days=2)
    with (
        AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow,
        psycopg.connect(stack.metadata_url, autocommit=True) as metadata,
    ):
        airflow.wait_for_dag(_DAG)
        _wait_for_duration(airflow, airflow.start_run(_DAG), metadata)
        for repetition in range(repetitions):
            alone = _run_alone(airflow, stack, metadata)
            beside = []
            for at_once in BACKFILL_RUNS:
                first, last = last - timedelta(days=DAYS), last - timedelta(days=1)
                backfill = airflow.backfill(_DAG, first, last, max_active_runs=at_once)
                _wait_for_first_task(metadata, backfill)
                beside.append(_run_alone(airflow, stack, metadata))
                airflow.cancel_backfill(backfill, _DAG)
                _wait_until_idle(metadata)
                last = first
            turns.append((alone, beside[0], beside[1]))
            shown = ", ".join(f"{each:.1f} s beside {n} runs" for n, each in zip(BACKFILL_RUNS, beside, strict=True))
            console.print(f"{repetition + 1} of {repetitions}: {alone:.1f} s alone, {shown}")
    return turns


def _run_alone(airflow: AirflowApi, stack: Stack, metadata: Metadata) -> float:
    """Trigger a run that reads all feeds from their beginning, and return the seconds that it took."""
    with connect_warehouse(stack.environment) as db:
        db.execute("update etl.cursors set value = ''")
    return _wait_for_duration(airflow, airflow.trigger(_DAG), metadata)


def _wait_for_duration(airflow: AirflowApi, run: DagRun, metadata: Metadata) -> float:
    """Return how long a run takes, from when it is queued to its end."""
    began = time.monotonic()
    while airflow.get_run(_DAG, run.run_id).state not in ("success", "failed"):
        if time.monotonic() - began > _MAX_WAIT.total_seconds():
            raise AirflowTimeout(f"the end of {run.run_id}", _MAX_WAIT.total_seconds())
        time.sleep(_POLL.total_seconds())
    found = metadata.execute(_DURATION, (run.run_id,)).fetchone()
    if found is None:
        sys.exit(f"error: {_DAG}, run {run.run_id}, failed")
    return float(found[0])


def _wait_for_first_task(metadata: Metadata, backfill: int) -> None:
    """Wait until the first task of a backfill's chunks has ended."""
    began = time.monotonic()
    while not metadata.execute(_SELECT_ENDED_TASK, (backfill,)).fetchone():
        if time.monotonic() - began > _MAX_WAIT.total_seconds():
            raise AirflowTimeout("the first task of the backfill", _MAX_WAIT.total_seconds())
        time.sleep(_POLL.total_seconds())


def _wait_until_idle(metadata: Metadata) -> None:
    """Wait until no task is under way, and the tasks that were ended have noticed it."""
    while metadata.execute(_SELECT_RUNNING_TASK).fetchone():
        time.sleep(_POLL.total_seconds())
    time.sleep(_CANCEL_DELAY.total_seconds())


if __name__ == "__main__":
    typer.run(main)
