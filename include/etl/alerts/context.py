"""Gathers what the warehouse and Airflow's own database know of a run, for an alert."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from etl.alerts import blockers
from etl.alerts.alert import RUN_TYPES_WITH_DEADLINE, ChunkProgress, LoginsByOutcome, NoticeOutcome, TaskFailure
from etl.alerts.blockers import OpenTask, PoolUsage
from etl.alerts.eta import PastRun
from etl.alerts.store import airflow_db, task_failures
from etl.alerts.store.airflow_db import DagRun
from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.notify.store import runs
from etl.sync.logins import breaker
from etl.sync.logins.store import logins
from etl.sync.report import totals
from etl.sync.store import chunks

_FINISHED_STATES = ("success", "failed")
_ACCOUNTS_PREFIX = "accounts_"
_READ_OUTCOME = "drained"
_KILLED_REMEDY = (
    "`sluice quarantine list` names them, and `sluice quarantine show ID` says what to do. The next run tries them "
    "again."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallbackRun:
    """A run as Airflow describes it to a callback.

    Parameters
    ----------
    dag_id, run_id
        The run.
    run_type
        Airflow's name of its type.
    state
        Airflow's name of its state, as of a moment ago.
    url
        The run in Airflow's web UI.
    started_at
        Start of the run; None if it had not started.
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
    """A run, and what Airflow's database knows of it; empty if that cannot be read."""

    callback_run: CallbackRun
    dag_run: DagRun | None = None
    tasks: Sequence[OpenTask] = ()
    pools: Mapping[str, PoolUsage] = field(default_factory=dict)
    history: Sequence[PastRun] = ()

    @property
    def has_deadline(self) -> bool:
        """Whether its type has a deadline; the type of a run may change when it is run again."""
        return self.callback_run.run_type in RUN_TYPES_WITH_DEADLINE and (
            self.dag_run is None or self.dag_run.run_type in RUN_TYPES_WITH_DEADLINE
        )

    @property
    def has_ended(self) -> bool:
        """Whether it succeeded or failed."""
        return (self.dag_run.state if self.dag_run else self.callback_run.state) in _FINISHED_STATES

    @property
    def started_at(self) -> datetime | None:
        """When it started; None if it has not."""
        return (self.dag_run.started_at if self.dag_run else None) or self.callback_run.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When it ended; None if it has not, or if that is unknown."""
        return self.dag_run.ended_at if self.dag_run else None

    @property
    def data_interval(self) -> tuple[datetime, datetime] | None:
        """Its data interval; None if it has none, or if that is unknown."""
        if self.dag_run is None or self.dag_run.interval_start is None or self.dag_run.interval_end is None:
            return None
        return (self.dag_run.interval_start, self.dag_run.interval_end)


def gather_run_context(run: CallbackRun, *, db: Connection | None, metadata_db: Connection | None) -> RunContext:
    """Return a run with what Airflow's database knows of it; if that cannot be read, without, so that an alert is sent.

    Parameters
    ----------
    db
        The warehouse, which knows how many chunks earlier runs had; None if it does not answer.
    metadata_db
        Airflow's own database; None if it cannot be read.
    """
    if metadata_db is None:
        return RunContext(run)
    try:
        tasks = airflow_db.open_tasks(metadata_db, dag_id=run.dag_id, run_id=run.run_id)
        durations = airflow_db.list_durations(metadata_db, dag_id=run.dag_id)
        dag_run = airflow_db.find_run(metadata_db, dag_id=run.dag_id, run_id=run.run_id)
        pools = airflow_db.pool_usage(metadata_db, names={task.pool for task in tasks})
    except psycopg.Error as error:
        log.warning("%s: cannot read run %s from Airflow's database: %s", run.dag_id, run.run_id, error)
        return RunContext(run)
    counts = chunks.count_by_run(db, entity=run.entity.name, run_ids=durations) if run.entity and db else {}
    history = [PastRun(duration, counts.get(run_id, 0)) for run_id, duration in durations.items()]
    return RunContext(run, dag_run, tasks, pools, history)


def chunk_progress(run: CallbackRun, *, db: Connection) -> ChunkProgress:
    """Return how many chunks of a run are planned and loaded."""
    if run.entity is None:
        return ChunkProgress()
    counts = totals(run.entity, run.run_id, db=db)
    return ChunkProgress(counts["chunks"], counts["chunks_loaded"])


def logins_by_outcome(run: CallbackRun, *, db: Connection) -> tuple[LoginsByOutcome, ...]:
    """Return the logins of a run by outcome and error code: those that were read, then the most frequent others."""
    if run.entity is None or isinstance(run.entity.source, RawOf):
        return ()
    counts = totals(run.entity, run.run_id, db=db)
    read = LoginsByOutcome("read", "", counts.get(f"{_ACCOUNTS_PREFIX}{_READ_OUTCOME}", 0))
    skipped = logins.skipped_by_run(db, entity=run.entity.name, run_id=run.run_id)
    return (
        read,
        *(
            LoginsByOutcome(each.outcome, each.reason or "", each.logins, _KILLED_REMEDY if each.is_killed else "")
            for each in skipped
        ),
    )


def wave_of_stops(run: CallbackRun, *, db: Connection) -> tuple[LoginsByOutcome, ...]:
    """Return the logins that a run has stopped, by error code, if they are so many that a person should know."""
    if run.entity is None or isinstance(run.entity.source, RawOf):
        return ()
    proposed = logins.stops_of_run(db, entity=run.entity.name, run_id=run.run_id)
    stopped = [
        LoginsByOutcome("stopped", stops.code, stops.accepted, run.entity.provider.remedy(stops.code))
        for stops in proposed
        if stops.accepted
    ]
    asked = logins.count_asked(db, entity=run.entity.name, run_id=run.run_id)
    return tuple(stopped) if breaker.is_wave(sum(each.logins for each in stopped), asked) else ()


def notice_outcome(run: CallbackRun, *, db: Connection) -> NoticeOutcome | None:
    """Return what became of the messages of a run so far; None if it is not the run of a notice."""
    outcome = runs.find_by_dag_run(db, dag_id=run.dag_id, dag_run=run.run_id) if run.entity is None else None
    if outcome is None:
        return None
    return NoticeOutcome(
        outcome.run_id,
        outcome.state,
        outcome.reason,
        outcome.sent,
        outcome.failed,
        outcome.deferred,
        outcome.unknown,
        outcome.expired,
        tuple(map(str, outcome.refusals)),
    )


def blocking_reasons(context: RunContext, *, db: Connection | None, as_of: datetime) -> tuple[str, ...]:
    """Return what a run waits for, in a few lines."""
    run = context.callback_run
    labels = chunks.labels_of_run(db, entity=run.entity.name, run_id=run.run_id) if run.entity and db else {}
    lines = blockers.describe_tasks(context.tasks, context.pools, labels, as_of=as_of)
    if not lines and context.dag_run is not None and context.dag_run.state == "queued":
        return (blockers.describe_queued_run(context.dag_run.queued_at, as_of=as_of),)
    return lines


def find_failures(context: RunContext, *, db: Connection) -> tuple[TaskFailure, ...]:
    """Return the failures of a run's tasks; one whose last attempt recorded no error was ended from outside."""
    recorded = task_failures.of_run(db, dag_id=context.callback_run.dag_id, run_id=context.callback_run.run_id)
    if context.dag_run is None:
        return tuple(recorded)
    recorded_by_task = {(failure.task_id, failure.map_index): failure for failure in recorded}
    return tuple(
        _failure_of_last_attempt(task, recorded_by_task.get((task.task_id, task.map_index)))
        for task in context.tasks
        if task.state == "failed"
    )


def _failure_of_last_attempt(task: OpenTask, recorded: TaskFailure | None) -> TaskFailure:
    if recorded is not None and recorded.attempt == task.attempt:
        return recorded
    return TaskFailure(task.task_id, task.map_index, task.attempt, error_type="", message="")
