"""Builds the Dag of a declared entity, and what it shares with the Dags of notices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable

import sluice_entity_tasks as tasks
from etl import catalog_folder
from etl.declare.entity import After, Entity, RawOf
from etl.declare.fault import project_path
from etl.declare.queue import Queue
from sluice_dag import SluiceDag
from sluice_deadline import deadline_arguments
from sluice_retry_policy import ErrorTypeRetryPolicy

START_DATE = datetime(2010, 1, 1, tzinfo=UTC)
"""Start of the earliest data interval that a backfill may cover."""

_DOC = """{summary}

`plan` divides the run into chunks. Each chunk is downloaded and sealed as received, or read from raw batches that
another entity downloaded; then it is typed, and merged by `{sql}` in one transaction with its cursors. `report` sums up
what was loaded, also if chunks failed; `all_loaded` fails the run if a chunk failed, and `check_logins`, where the
provider is called, if too many logins stopped or were quarantined at once. The next run continues from the cursors, so
nothing is lost, and a failed task can be cleared safely at any time.
"""


def entity_dag_id(entity: Entity) -> str:
    """Return the id of the Dag that syncs an entity."""
    return f"etl_{entity.name}"


def build_entity_dag(entity: Entity) -> DAG:
    """Return the Dag that syncs an entity.

    It plans the run's chunks, takes each through its steps, and then reports. A chunk that fails does not stop its
    siblings: `report` counts what was loaded and triggers dependent Dags. `all_loaded` fails the run if a chunk failed,
    and `check_logins`, where a provider is called, if too many logins stopped or were quarantined at once.
    """
    from airflow.providers.standard.operators.empty import EmptyOperator

    deadline = deadline_arguments(entity.deadline, entity=entity.name)
    with SluiceDag(
        dag_id=entity_dag_id(entity),
        description=entity.summary,
        schedule=airflow_schedule(entity.schedule),
        start_date=START_DATE,
        catchup=False,
        max_active_runs=1,
        tags=["etl", entity.provider.name, *deadline.pop("tags", ())],
        doc_md=_DOC.format(
            summary=entity.summary, sql=project_path(catalog_folder.find().sql("entities", entity.name))
        ),
        default_args=build_default_args(entity.queue, entity.timeout),
        **deadline,
    ) as dag:
        chunk = tasks.raw_chunk(entity) if isinstance(entity.source, RawOf) else tasks.provider_chunk(entity)
        report = tasks.report(entity, outlet=asset(entity.name))
        chunk.expand(ordinal=tasks.plan(entity)) >> [report, EmptyOperator(task_id="all_loaded")]
        if not isinstance(entity.source, RawOf):
            report >> tasks.check_logins(entity)
    return dag


def airflow_schedule(schedule: str | After) -> CronDataIntervalTimetable | list[Asset]:
    """Return a declared schedule as a timetable or a list of assets."""
    if isinstance(schedule, After):
        return [asset(schedule.entity)]
    return CronDataIntervalTimetable(schedule, timezone="UTC")


def asset(entity: str) -> Asset:
    """Return the asset that is updated at the end of each run that loads an entity."""
    return Asset(name=entity, uri=f"sluice://core/{entity}")


def build_default_args(queue: Queue, timeout: timedelta) -> dict[str, Any]:
    """Return the default arguments of the tasks of a Dag."""
    return {
        "owner": "sluice",
        "queue": queue.name,
        "pool": queue.pool.name,
        "weight_rule": "absolute",
        "execution_timeout": timeout,
        "retries": 3,
        "retry_policy": ErrorTypeRetryPolicy(),
        # Used after a task was killed, when the policy gets no exception to judge.
        "retry_delay": timedelta(seconds=30),
    }
