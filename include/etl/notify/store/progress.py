"""How far runs of notices are, from the sums of their chunks; the ledger is not read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row, tuple_row

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.notify.store.runs import NoticeRunMissing

RATE_WINDOW = timedelta(minutes=1)
"""The rate now is that of so long a time, or of as much of it as is remembered."""


@dataclass(frozen=True)
class RunStatus:
    """A run among others.

    Parameters
    ----------
    run_id, notice, period
        Which.
    state
        `running`, `paused`, `cancelled` or `done`.
    pace
        Messages a second at most.
    recipients
        How many it has.
    planned_at, ended_at, expires_at
        When it was planned, when it ended, and when its messages are of no use any more.
    sent, failed, unknown
        Deliveries so far.
    """

    run_id: int
    notice: str
    period: str
    state: str
    pace: float
    recipients: int
    planned_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None
    sent: int
    failed: int
    unknown: int


@dataclass(frozen=True)
class RecentSends:
    """Pages that ended lately.

    Parameters
    ----------
    messages
        How many they had.
    seconds
        In how long a time.
    """

    messages: int
    seconds: float


def list_latest(db: Connection, *, limit: int) -> list[RunStatus]:
    """Return the latest runs, the newest first."""
    return _sql(db, run_id=None, limit=limit)


def find_status(db: Connection, run_id: int) -> RunStatus:
    """Return how a run stands.

    Raises
    ------
    NoticeRunMissing
        If there is none of this id.
    """
    found = _sql(db, run_id=run_id, limit=1)
    if not found:
        raise NoticeRunMissing(run_id)
    return found[0]


def read_recent_sends(db: Connection, run_id: int) -> RecentSends:
    """Return how much was sent lately, from the ends of pages that the chunks of a run remember."""
    with db.cursor(row_factory=tuple_row) as cursor:
        values = {"run_id": run_id, "window": RATE_WINDOW}
        found = cursor.execute(statement("notify/progress", "recent_sends"), values).fetchone()
    return RecentSends(0, 0.0) if found is None else RecentSends(*found)


def _sql(db: Connection, *, run_id: int | None, limit: int) -> list[RunStatus]:
    with db.cursor(row_factory=class_row(RunStatus)) as cursor:
        values = {"run_id": run_id, "limit": limit}
        return cursor.execute(statement("notify/progress", "list_statuses"), values).fetchall()
