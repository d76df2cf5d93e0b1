"""From a declaration to a Dag."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, get_parsing_context

import sluice_entity_tasks as tasks
from etl.declare.entity import After, Entity, RawOf
from etl.declare.queue import Queue
from sluice_deadlines import deadline_arguments
from sluice_retry_policy import ErrorTypeRetryPolicy

START_DATE = datetime(2010, 1, 1, tzinfo=UTC)
"""Earliest data interval that a backfill may ask for."""

_DOC = """{summary}

`plan` cuts the run into chunks. Each chunk is downloaded and sealed as sent, unless it is read from what another entity
downloaded; then it is typed, and merged by `{sql}`, in one transaction with its cursors. `report` sums up what was
loaded, whatever became of the chunks; `all_loaded` fails the run if one of them failed. The next run reads on from the
cursors: nothing is lost, and to clear a failed task is safe at any time.
"""


def should_build(dag_id: str) -> bool:
    """Tell whether a Dag is to be built: a task parses its file for its own Dag only."""
    return get_parsing_context().dag_id in (None, dag_id)


def entity_dag_id(entity: Entity) -> str:
    """Return the id of the Dag that syncs an entity."""
    return f"etl_{entity.name}"


def build_entity_dag(entity: Entity) -> DAG:
    """Return the Dag that syncs an entity.

    It plans the run's chunks, takes each through its steps, and then reports. A chunk that fails does not stop its
    siblings: `report` counts what was loaded and tells those that wait for it. `all_loaded` makes the run fail if any
    chunk did.
    """
    from airflow.providers.standard.operators.empty import EmptyOperator

    promised = deadline_arguments(entity.deadline, entity=entity.name)
    with DAG(
        dag_id=entity_dag_id(entity),
        description=entity.summary,
        schedule=airflow_schedule(entity.schedule),
        start_date=START_DATE,
        catchup=False,
        max_active_runs=1,
        tags=["etl", entity.provider.name, *promised.pop("tags", ())],
        doc_md=_DOC.format(summary=entity.summary, sql=f"include/sql/entities/{entity.name}.sql"),
        default_args=build_default_args(entity.queue, entity.timeout),
        **promised,
    ) as dag:
        chunk = tasks.raw_chunk(entity) if isinstance(entity.source, RawOf) else tasks.provider_chunk(entity)
        chunk.expand(ordinal=tasks.plan(entity)) >> [
            tasks.report(entity, outlet=asset(entity.name)),
            EmptyOperator(task_id="all_loaded"),
        ]
    return dag


def airflow_schedule(schedule: str | After) -> CronDataIntervalTimetable | list[Asset]:
    """Return what Airflow calls a schedule."""
    if isinstance(schedule, After):
        return [asset(schedule.entity)]
    return CronDataIntervalTimetable(schedule, timezone="UTC")


def asset(entity: str) -> Asset:
    """Return the asset that is updated whenever an entity was loaded."""
    return Asset(name=entity, uri=f"sluice://core/{entity}")


def build_default_args(queue: Queue, timeout: timedelta) -> dict[str, Any]:
    """Return what all tasks share."""
    return {
        "owner": "sluice",
        "queue": queue.name,
        "pool": queue.pool.name,
        "weight_rule": "absolute",
        "execution_timeout": timeout,
        "retries": 3,
        "retry_policy": ErrorTypeRetryPolicy(),
        # Of a task that was killed: there is no error for the policy to judge.
        "retry_delay": timedelta(seconds=30),
    }
