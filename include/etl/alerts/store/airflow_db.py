"""What Airflow's own database says of runs and their tasks; only read, and only for mails."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from etl.alerts.blockers import OpenTask, PoolUsage
from etl.db.connection import Connection
from etl.db.statements import statement

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
        When; None if not yet.
    interval_start, interval_end
        The data interval that it is about; None if it has none.
    deadline_at
        The last of its deadlines; None if it has none, or has kept it.
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
    with metadata_db.cursor(row_factory=class_row(DagRun)) as cursor:
        return cursor.execute(
            statement("alerts/airflow_db", "find_run"), {"dag_id": dag_id, "run_id": run_id}
        ).fetchone()


def open_tasks(metadata_db: Connection, *, dag_id: str, run_id: str) -> list[OpenTask]:
    """Return the tasks of a run that are under way, wait for something, or failed."""
    with metadata_db.cursor(row_factory=class_row(OpenTask)) as cursor:
        return cursor.execute(
            statement("alerts/airflow_db", "open_tasks"), {"dag_id": dag_id, "run_id": run_id}
        ).fetchall()


def pool_usage(metadata_db: Connection, *, names: Collection[str]) -> dict[str, PoolUsage]:
    """Return pools by name."""
    with metadata_db.cursor(row_factory=class_row(PoolUsage)) as cursor:
        found = cursor.execute(statement("alerts/airflow_db", "pool_usage"), {"names": list(names)}).fetchall()
    return {pool.name: pool for pool in found}


def durations(metadata_db: Connection, *, dag_id: str) -> dict[str, timedelta]:
    """Return how long the last ten runs took that kept the schedule and succeeded, by run id."""
    with metadata_db.cursor() as cursor:
        values = {"dag_id": dag_id, "limit": _MAX_HISTORY}
        return dict(cursor.execute(statement("alerts/airflow_db", "durations"), values).fetchall())
