"""Dags of `python -m benchmarks.urgent`: an urgent task, and the backlog of low-priority transforms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, get_current_context, task

from etl.catalog.queues import EMAILS, ETL, MAINTENANCE, QUEUES, URGENT_NOTIFICATIONS
from etl.declare.queue import Queue

BACKLOG = {ETL: 230, EMAILS: 115, MAINTENANCE: 85}
"""Queue → number of transforms on it."""
COMMON: dict[str, Any] = {
    "start_date": datetime(2010, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_tasks": 1_000,
    "tags": ["no-deadline"],
}


def on(queue: Queue) -> dict[str, Any]:
    """Return the settings of a task on a queue."""
    return {
        "queue": queue.name,
        "pool": queue.pool.name,
        "priority_weight": 100 * queue.priority,
        "weight_rule": "absolute",
        "execution_timeout": timedelta(minutes=10),
    }


def transform(number: int) -> None:
    """Transform the raw batch of the run's conf, as a chunk's task does, with a temporary folder for typed rows."""
    from tempfile import TemporaryDirectory

    from upath import UPath

    import sluice_connections as connections
    from etl.catalog.entities.transactions import TRANSACTIONS
    from etl.sync import transform as step

    raw_id = int((get_current_context()["dag_run"].conf or {}).get("raw_id", 1))
    with TemporaryDirectory() as folder, connections.warehouse() as db:
        step.transform(
            TRANSACTIONS,
            raw_id,
            db=db,
            root=connections.raw_root(),
            typed_root=UPath(folder) / str(number),
        )


with DAG("urgent", schedule=None, max_active_runs=100, **COMMON):

    @task(**on(URGENT_NOTIFICATIONS))  # type: ignore[untyped-decorator] # `on` returns values of type Any
    def start() -> None:
        """Do nothing; only the start is measured."""

    start()

with DAG("backlog", schedule=None, **COMMON):
    for queue, count in BACKLOG.items():
        mapped = task(task_id=f"transform_{queue.name}", **on(queue))(transform)
        mapped.expand(number=list(range(count)))

with DAG("backlog_of_the_past", schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"), **COMMON):
    task(task_id="transform", **on(ETL))(transform)(0)

PROCESSES = {pool.name: pool.slots for queue in QUEUES if queue is not URGENT_NOTIFICATIONS for pool in queue.pools}
"""Pool → tasks of the backlog that run in it concurrently; together they keep every low-priority process busy."""
