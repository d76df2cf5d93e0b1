"""From a declaration to a Dag.

Tasks exchange ids only: ordinals of chunks and ids of raw batches. Step modules are imported inside the tasks, since a
Dag file is parsed again for every task.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    CronDataIntervalTimetable,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    TriggerRule,
    get_current_context,
    task,
    task_group,
)

import sluice_connections as connections
from etl.declare.entity import Entity
from etl.declare.queue import Queue
from etl.errors import PermanentError

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Earliest data interval that a backfill may ask for."""

_DOC = """{summary}

`plan` cuts the active provider accounts into chunks. Each chunk is downloaded, sealed as sent, typed, and merged by
`{sql}`, in one transaction with its cursors. `report` sums up what was loaded, whatever became of the chunks;
`all_loaded` fails the run if one of them failed. The next run reads on from the cursors: nothing is lost, and to clear
a failed task is safe at any time.
"""

RETRIES = ExceptionRetryPolicy(rules=[RetryRule(PermanentError, RetryAction.FAIL)])


def entity_dag(entity: Entity) -> DAG:
    """Return the Dag that syncs an entity.

    It plans the run's chunks, then for each goes through download → store raw → transform → load, then reports.
    A chunk that fails does not stop its siblings: `report` counts what was loaded and tells those that wait for it.
    `all_loaded` makes the run fail if any chunk did.
    """
    weight = 100 * entity.queue.priority
    asset = Asset(name=entity.name, uri=f"sluice://core/{entity.name}")
    from airflow.providers.standard.operators.empty import EmptyOperator

    with DAG(
        dag_id=f"etl_{entity.name}",
        description=entity.summary,
        schedule=CronDataIntervalTimetable(entity.schedule, timezone="UTC"),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        tags=["etl", entity.provider.name],
        doc_md=_DOC.format(summary=entity.summary, sql=f"include/sql/entities/{entity.name}.sql"),
        default_args=_task_settings(entity.queue, entity.timeout),
    ) as dag:

        @task(priority_weight=weight + 0)
        def plan() -> list[int]:
            from etl.steps import plan as step

            with connections.warehouse() as warehouse:
                return step.plan(entity, _run_id(), warehouse=warehouse)

        @task(priority_weight=weight + 1)
        def download(ordinal: int) -> int:
            from etl.steps import download as step

            with connections.warehouse() as warehouse:
                return step.download(
                    entity,
                    _run_id(),
                    ordinal,
                    warehouse=warehouse,
                    root=connections.raw_root(),
                    cipher=connections.cipher(),
                    endpoint=connections.endpoint(entity.provider.connection),
                    limiter=connections.limiter(),
                )

        @task(priority_weight=weight + 2)
        def store_raw(ordinal: int) -> int:
            from etl.steps import store_raw as step

            with connections.warehouse() as warehouse:
                return step.store_raw(entity, _run_id(), ordinal, warehouse=warehouse, root=connections.raw_root())

        @task(priority_weight=weight + 3)
        def transform(raw_id: int) -> int:
            from etl.steps import transform as step

            with connections.warehouse() as warehouse:
                return step.transform(entity, raw_id, warehouse=warehouse, root=connections.raw_root())

        @task(priority_weight=weight + 4)
        def load(raw_id: int) -> None:
            from etl.steps import load as step

            with connections.warehouse() as warehouse:
                step.load(entity, raw_id, warehouse=warehouse, root=connections.raw_root())

        @task(priority_weight=weight + 5, trigger_rule=TriggerRule.ALL_DONE, outlets=[asset])
        def report() -> dict[str, int]:
            from etl.steps import report as step

            with connections.warehouse() as warehouse:
                totals = step.report(entity, _run_id(), warehouse=warehouse)
            get_current_context()["outlet_events"][asset].extra = {**totals}
            return totals

        @task_group
        def chunk(ordinal: int) -> None:
            load(transform(store_raw(download(ordinal))))  # type: ignore[arg-type] # an id to be

        chunk.expand(ordinal=plan()) >> [report(), EmptyOperator(task_id="all_loaded")]
    return dag


def _task_settings(queue: Queue, timeout: timedelta) -> dict[str, Any]:
    """Return what all tasks share; a later step weighs more, so that a chunk goes through depth first."""
    return {
        "owner": "sluice",
        "queue": queue.name,
        "pool": queue.pool,
        "weight_rule": "absolute",
        "execution_timeout": timeout,
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": RETRIES,
    }


def _run_id() -> str:
    return str(get_current_context()["run_id"])
