"""Look: gather what is known of a run, from the warehouse and from Airflow's own database."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from etl.alerts import blockers
from etl.alerts.alert import PROMISING, Failure, Progress
from etl.alerts.blockers import OpenTask, Pool
from etl.alerts.eta import EarlierRun
from etl.alerts.store import airflow_db, task_failures
from etl.alerts.store.airflow_db import DagRun
from etl.db.connection import Warehouse
from etl.declare.entity import Entity
from etl.sync.report import totals
from etl.sync.store import chunks as plans

_ENDED = ("success", "failed")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
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
class Seen:
    """A run, and what Airflow's database says of it; nothing where that cannot be read."""

    asked: Run
    run: DagRun | None = None
    tasks: Sequence[OpenTask] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    history: Sequence[EarlierRun] = ()

    @property
    def promises(self) -> bool:
        """Whether it is of a type that promises anything; the type of a run may change when it is run again."""
        return self.asked.run_type in PROMISING and (self.run is None or self.run.run_type in PROMISING)

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return (self.run.state if self.run else self.asked.state) in _ENDED

    @property
    def started_at(self) -> datetime | None:
        """When it started; None if it has not."""
        return (self.run.started_at if self.run else None) or self.asked.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When it ended; None if it has not, or if that is not known."""
        return self.run.ended_at if self.run else None

    @property
    def interval(self) -> tuple[datetime, datetime] | None:
        """The data interval that it is about."""
        if self.run is None or self.run.interval_start is None or self.run.interval_end is None:
            return None
        return (self.run.interval_start, self.run.interval_end)


def look(run: Run, *, warehouse: Warehouse | None, metadata: Warehouse | None) -> Seen:
    """Return what Airflow's database says of a run; a mail goes out without it, rather than not at all.

    Parameters
    ----------
    warehouse
        Knows how many chunks earlier runs had; None if it does not answer.
    metadata
        Airflow's own database; None if it cannot be read.
    """
    if metadata is None:
        return Seen(run)
    try:
        tasks = airflow_db.open_tasks(metadata, dag_id=run.dag_id, run_id=run.run_id)
        durations = airflow_db.durations(metadata, dag_id=run.dag_id)
        found = airflow_db.find(metadata, dag_id=run.dag_id, run_id=run.run_id)
        pools = airflow_db.pools(metadata, names={task.pool for task in tasks})
    except psycopg.Error as error:
        log.warning("%s: Airflow's database tells nothing of run %s: %s", run.dag_id, run.run_id, error)
        return Seen(run)
    counts = plans.counts(warehouse, entity=run.entity.name, run_ids=durations) if run.entity and warehouse else {}
    history = [EarlierRun(duration, counts.get(run_id, 0)) for run_id, duration in durations.items()]
    return Seen(run, found, tasks, pools, history)


def progress(run: Run, *, warehouse: Warehouse) -> Progress:
    """Return how far a run is."""
    if run.entity is None:
        return Progress()
    counts = totals(run.entity, run.run_id, warehouse=warehouse)
    return Progress(counts["chunks"], counts["chunks_loaded"])


def waits(seen: Seen, *, warehouse: Warehouse | None, as_of: datetime) -> tuple[str, ...]:
    """Return what a run waits for, in a few lines."""
    run = seen.asked
    chunks = (
        plans.chunks_of_run(warehouse, entity=run.entity.name, run_id=run.run_id) if run.entity and warehouse else {}
    )
    lines = blockers.lines(seen.tasks, seen.pools, chunks, as_of=as_of)
    if not lines and seen.run is not None and seen.run.state == "queued":
        return (blockers.unstarted(seen.run.queued_at, as_of=as_of),)
    return lines


def why_failed(seen: Seen, *, warehouse: Warehouse) -> tuple[Failure, ...]:
    """Return why tasks of a run failed; one whose last attempt said nothing was ended from outside."""
    kept = task_failures.of_run(warehouse, dag_id=seen.asked.dag_id, run_id=seen.asked.run_id)
    if seen.run is None:
        return tuple(kept)
    last = {
        (task.task_id, task.map_index): Failure(task.task_id, task.map_index, task.attempt, "", "")
        for task in seen.tasks
        if task.state == "failed"
    }
    spoke = {(failure.task_id, failure.map_index): failure for failure in kept}
    return tuple(
        spoke[place] if place in spoke and spoke[place].attempt == silent.attempt else silent
        for place, silent in last.items()
    )
