"""Look: gather what is known of a run, from the warehouse and from Airflow's own database."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from etl.alerts import blockers
from etl.alerts.alert import RUN_TYPES_WITH_DEADLINE, ChunkProgress, TaskFailure
from etl.alerts.blockers import OpenTask, PoolUsage
from etl.alerts.eta import PastRun
from etl.alerts.store import airflow_db, task_failures
from etl.alerts.store.airflow_db import DagRun
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.sync.report import totals
from etl.sync.store import chunks as plans

_FINISHED_STATES = ("success", "failed")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallbackRun:
    """The run in question, as its caller knows it.

    Parameters
    ----------
    dag_id, run_id
        Which run.
    run_type
        Airflow's name for why it runs.
    state
        Airflow's name for how far it is, as of a moment ago.
    url
        The run in the web UI.
    started_at
        When it started; None if it had not.
    entity
        What it syncs; None if it is not the Dag of an entity.
    """

    dag_id: str
    run_id: str
    run_type: str
    state: str
    url: str
    started_at: datetime | None = None
    entity: Entity | None = None


@dataclass(frozen=True)
class RunContext:
    """A run, and what Airflow's database says of it; nothing where that cannot be read."""

    callback_run: CallbackRun
    dag_run: DagRun | None = None
    tasks: Sequence[OpenTask] = ()
    pools: Mapping[str, PoolUsage] = field(default_factory=dict)
    history: Sequence[PastRun] = ()

    @property
    def has_deadline(self) -> bool:
        """Whether it is of a type that promises anything; the type of a run may change when it is run again."""
        return self.callback_run.run_type in RUN_TYPES_WITH_DEADLINE and (
            self.dag_run is None or self.dag_run.run_type in RUN_TYPES_WITH_DEADLINE
        )

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return (self.dag_run.state if self.dag_run else self.callback_run.state) in _FINISHED_STATES

    @property
    def started_at(self) -> datetime | None:
        """When it started; None if it has not."""
        return (self.dag_run.started_at if self.dag_run else None) or self.callback_run.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When it ended; None if it has not, or if that is not known."""
        return self.dag_run.ended_at if self.dag_run else None

    @property
    def data_interval(self) -> tuple[datetime, datetime] | None:
        """The data interval that it is about."""
        if self.dag_run is None or self.dag_run.interval_start is None or self.dag_run.interval_end is None:
            return None
        return (self.dag_run.interval_start, self.dag_run.interval_end)


def gather_run_context(run: CallbackRun, *, db: Connection | None, metadata_db: Connection | None) -> RunContext:
    """Return what Airflow's database says of a run; a mail goes out without it, rather than not at all.

    Parameters
    ----------
    warehouse
        Knows how many chunks earlier runs had; None if it does not answer.
    metadata_db
        Airflow's own database; None if it cannot be read.
    """
    if metadata_db is None:
        return RunContext(run)
    try:
        tasks = airflow_db.open_tasks(metadata_db, dag_id=run.dag_id, run_id=run.run_id)
        durations = airflow_db.durations(metadata_db, dag_id=run.dag_id)
        found = airflow_db.find_run(metadata_db, dag_id=run.dag_id, run_id=run.run_id)
        pools = airflow_db.pool_usage(metadata_db, names={task.pool for task in tasks})
    except psycopg.Error as error:
        log.warning("%s: Airflow's database tells nothing of run %s: %s", run.dag_id, run.run_id, error)
        return RunContext(run)
    counts = plans.count_by_run(db, entity=run.entity.name, run_ids=durations) if run.entity and db else {}
    history = [PastRun(duration, counts.get(run_id, 0)) for run_id, duration in durations.items()]
    return RunContext(run, found, tasks, pools, history)


def chunk_progress(run: CallbackRun, *, db: Connection) -> ChunkProgress:
    """Return how far a run is."""
    if run.entity is None:
        return ChunkProgress()
    counts = totals(run.entity, run.run_id, db=db)
    return ChunkProgress(counts["chunks"], counts["chunks_loaded"])


def blocking_reasons(context: RunContext, *, db: Connection | None, as_of: datetime) -> tuple[str, ...]:
    """Return what a run waits for, in a few lines."""
    run = context.callback_run
    chunks = plans.labels_of_run(db, entity=run.entity.name, run_id=run.run_id) if run.entity and db else {}
    lines = blockers.describe(context.tasks, context.pools, chunks, as_of=as_of)
    if not lines and context.dag_run is not None and context.dag_run.state == "queued":
        return (blockers.describe_queued_run(context.dag_run.queued_at, as_of=as_of),)
    return lines


def find_failures(context: RunContext, *, db: Connection) -> tuple[TaskFailure, ...]:
    """Return why tasks of a run failed; one whose last attempt said nothing was ended from outside."""
    kept = task_failures.of_run(db, dag_id=context.callback_run.dag_id, run_id=context.callback_run.run_id)
    if context.dag_run is None:
        return tuple(kept)
    last = {
        (task.task_id, task.map_index): TaskFailure(task.task_id, task.map_index, task.attempt, "", "")
        for task in context.tasks
        if task.state == "failed"
    }
    spoke = {(failure.task_id, failure.map_index): failure for failure in kept}
    return tuple(
        spoke[place] if place in spoke and spoke[place].attempt == silent.attempt else silent
        for place, silent in last.items()
    )
