"""Reads runs, tasks and pools from Airflow's own database, for alerts only; writes nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.alerts.blockers import OpenTask, PoolUsage
from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("alerts/airflow_db")

_MAX_HISTORY = 10


@dataclass(frozen=True)
class DagRun:
    """A run.

    Parameters
    ----------
    run_type
        `scheduled`, `asset_triggered`, `backfill`, `manual`, …
    state
        `queued`, `running`, `success` or `failed`.
    queued_at, started_at, ended_at
        None if not yet.
    interval_start, interval_end
        Its data interval; None if it has none.
    deadline_at
        The last of its deadlines; None if it has none, or has met it.
    """

    run_type: str
    state: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    interval_start: datetime | None
    interval_end: datetime | None
    deadline_at: datetime | None


def find_run(metadata_db: Connection, *, dag_id: str, run_id: str) -> DagRun | None:
    """Return a run, None if there is none."""
    return _SQL["find_run"].first(metadata_db, DagRun, {"dag_id": dag_id, "run_id": run_id})


def open_tasks(metadata_db: Connection, *, dag_id: str, run_id: str) -> list[OpenTask]:
    """Return the tasks of a run that are running, waiting or failed."""
    return _SQL["open_tasks"].objects(metadata_db, OpenTask, {"dag_id": dag_id, "run_id": run_id})


def pool_usage(metadata_db: Connection, *, names: Collection[str]) -> dict[str, PoolUsage]:
    """Return pools by name."""
    pools = _SQL["pool_usage"].objects(metadata_db, PoolUsage, {"names": list(names)})
    return {pool.name: pool for pool in pools}


def list_durations(metadata_db: Connection, *, dag_id: str) -> dict[str, timedelta]:
    """Return the durations of the last ten successful runs that were scheduled or triggered by an asset, by run id."""
    return dict(_SQL["durations"].rows(metadata_db, {"dag_id": dag_id, "limit": _MAX_HISTORY}))
