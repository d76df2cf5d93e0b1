"""Tell: decide whether people must know something about the promise of a run, and if so, write it down."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg

from etl.declare.entity import Entity
from etl.promise import blockers, finish
from etl.promise.blockers import OpenTask, Pool
from etl.promise.failure import Failure
from etl.promise.finish import EarlierRun
from etl.promise.mail import compose
from etl.promise.news import PROMISING, Kind, News, Progress
from etl.steps.report import totals
from etl.stores import dag_runs, failures, plans, promises
from etl.stores.dag_runs import DagRun
from etl.stores.promises import Letter
from etl.stores.warehouse import Warehouse

_ENDED = ("success", "failed")
_MOST_FAILURES = 3

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
    """What Airflow's database says of a run; empty where it cannot be read."""

    run: DagRun | None = None
    tasks: Sequence[OpenTask] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    history: Sequence[EarlierRun] = ()


def late(
    run: Run,
    kind: Kind,
    *,
    promised_by: datetime,
    warehouse: Warehouse,
    metadata: Warehouse | None,
    as_of: datetime,
) -> Letter | None:
    """Return the mail that a run is late, or is going to be; None if there is nothing to tell.

    Parameters
    ----------
    kind
        `MISSED` once the promise is over, `FORECAST` before.
    promised_by
        When the run promised to be done.
    metadata
        Airflow's own database; None if it cannot be read.
    as_of
        Now.
    """
    seen = look(run, warehouse=warehouse, metadata=metadata)
    if not _promises(run, seen) or (seen.run.state if seen.run else run.state) in _ENDED:
        return None
    started_at = _started_at(run, seen)
    progress = _progress(run, warehouse)
    estimate = finish.estimate(progress, seen.history, started_at=started_at, as_of=as_of)
    if kind is Kind.FORECAST and (estimate is None or as_of >= promised_by or estimate.finish_at <= promised_by):
        return None
    chunks = plans.chunks_of_run(warehouse, entity=run.entity.name, run_id=run.run_id) if run.entity else {}
    waits = blockers.lines(seen.tasks, seen.pools, chunks, as_of=as_of)
    news = News(
        kind,
        run.dag_id,
        run.run_id,
        as_of,
        run.url,
        promised_by=promised_by,
        interval=_interval(seen),
        started_at=started_at,
        finish_at=estimate.finish_at if estimate else None,
        basis=estimate.basis if estimate else "",
        progress=progress,
        blockers=waits or _nothing_open(seen, as_of),
    )
    return _claim(warehouse, news)


def recovered(run: Run, *, warehouse: Warehouse, metadata: Warehouse | None, as_of: datetime) -> Letter | None:
    """Return the mail that a run is done after all; None if nobody was told that it would not be."""
    told = promises.told(warehouse, dag_id=run.dag_id, run_id=run.run_id)
    warned = [told[kind] for kind in (Kind.MISSED, Kind.FORECAST) if kind in told]
    # A miss that could not be sent is told now, by the very mail that says how late it became.
    if not any(item.sent_at or item.kind == Kind.MISSED.value for item in warned):
        promises.withdraw(warehouse, dag_id=run.dag_id, run_id=run.run_id)
        return None
    seen = look(run, warehouse=warehouse, metadata=metadata)
    if not _promises(run, seen):
        return None
    news = News(
        Kind.RECOVERED,
        run.dag_id,
        run.run_id,
        as_of,
        run.url,
        promised_by=warned[0].promised_by,
        interval=_interval(seen),
        started_at=_started_at(run, seen),
        finish_at=(seen.run.ended_at if seen.run else None) or as_of,
        progress=_progress(run, warehouse),
    )
    return _claim(warehouse, news)


def failed(run: Run, *, warehouse: Warehouse, metadata: Warehouse | None, as_of: datetime) -> Letter | None:
    """Return the mail that a run failed; None if it promised nothing."""
    seen = look(run, warehouse=warehouse, metadata=metadata)
    if not _promises(run, seen):
        return None
    told = promises.told(warehouse, dag_id=run.dag_id, run_id=run.run_id)
    promised_by = [seen.run.promised_by] if seen.run else []
    promised_by += [item.promised_by for item in told.values()]
    found = _failures(run, seen, warehouse)
    news = News(
        Kind.FAILED,
        run.dag_id,
        run.run_id,
        as_of,
        run.url,
        promised_by=next((at for at in promised_by if at), None),
        interval=_interval(seen),
        started_at=_started_at(run, seen),
        finish_at=(seen.run.ended_at if seen.run else None) or as_of,
        progress=_progress(run, warehouse),
        failures=found[:_MOST_FAILURES],
        failed_tasks=len(found),
        rejected=failures.rejects(warehouse, entity=run.entity.name, run_id=run.run_id) if run.entity else (),
    )
    return _claim(warehouse, news)


def look(run: Run, *, warehouse: Warehouse, metadata: Warehouse | None) -> Seen:
    """Return what Airflow's database says of a run; a mail goes out without it, rather than not at all."""
    if metadata is None:
        return Seen()
    try:
        tasks = dag_runs.open_tasks(metadata, dag_id=run.dag_id, run_id=run.run_id)
        durations = dag_runs.durations(metadata, dag_id=run.dag_id)
        found = dag_runs.find(metadata, dag_id=run.dag_id, run_id=run.run_id)
        pools = dag_runs.pools(metadata, names={task.pool for task in tasks})
    except psycopg.Error as error:
        log.warning("%s: Airflow's database tells nothing of run %s: %s", run.dag_id, run.run_id, error)
        return Seen()
    counts = plans.counts(warehouse, entity=run.entity.name, run_ids=durations) if run.entity else {}
    history = [EarlierRun(duration, counts.get(run_id, 0)) for run_id, duration in durations.items()]
    return Seen(found, tasks, pools, history)


def _claim(warehouse: Warehouse, news: News) -> Letter | None:
    letter = promises.claim(warehouse, news, compose(news))
    if letter:
        log.info("%s: telling of run %s: %s", news.dag_id, news.run_id, letter.subject)
    return letter


def _promises(run: Run, seen: Seen) -> bool:
    return run.run_type in PROMISING and (seen.run is None or seen.run.run_type in PROMISING)


def _progress(run: Run, warehouse: Warehouse) -> Progress:
    if run.entity is None:
        return Progress()
    counts = totals(run.entity, run.run_id, warehouse=warehouse)
    return Progress(counts["chunks"], counts["chunks_loaded"])


def _interval(seen: Seen) -> tuple[datetime, datetime] | None:
    if seen.run is None or seen.run.interval_start is None or seen.run.interval_end is None:
        return None
    return (seen.run.interval_start, seen.run.interval_end)


def _started_at(run: Run, seen: Seen) -> datetime | None:
    return (seen.run.started_at if seen.run else None) or run.started_at


def _nothing_open(seen: Seen, as_of: datetime) -> tuple[str, ...]:
    if seen.run is None or seen.run.state != "queued":
        return ()
    return (blockers.unstarted(seen.run.queued_at, as_of=as_of),)


def _failures(run: Run, seen: Seen, warehouse: Warehouse) -> tuple[Failure, ...]:
    """Return why tasks failed; one whose last attempt said nothing was ended from outside."""
    kept = failures.of_run(warehouse, dag_id=run.dag_id, run_id=run.run_id)
    if seen.run is None:
        return tuple(kept)
    last = {
        (task.task_id, task.map_index): Failure(task.task_id, task.map_index, task.attempt, "", "")
        for task in seen.tasks
        if task.state == "failed"
    }
    last |= {
        place: failure
        for failure in kept
        if (place := (failure.task_id, failure.map_index)) in last and failure.attempt == last[place].attempt
    }
    return tuple(last.values())
