"""How far runs of notices are, from the sums of their chunks; the ledger is not read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row, tuple_row

from etl.db.connection import Warehouse
from etl.db.statements import statement
from etl.notify.store.runs import NoticeRunMissing

WINDOW = timedelta(minutes=1)
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
class Pages:
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


def latest(warehouse: Warehouse, *, limit: int) -> list[RunStatus]:
    """Return the latest runs, the newest first."""
    return _runs(warehouse, run_id=None, limit=limit)


def of_run(warehouse: Warehouse, run_id: int) -> RunStatus:
    """Return how a run stands.

    Raises
    ------
    NoticeRunMissing
        If there is none of this id.
    """
    found = _runs(warehouse, run_id=run_id, limit=1)
    if not found:
        raise NoticeRunMissing(run_id)
    return found[0]


def pages(warehouse: Warehouse, run_id: int) -> Pages:
    """Return how much was sent lately, from the ends of pages that the chunks of a run remember."""
    with warehouse.cursor(row_factory=tuple_row) as cursor:
        values = {"run_id": run_id, "window": WINDOW}
        found = cursor.execute(statement("notify/progress", "pages"), values).fetchone()
    return Pages(0, 0.0) if found is None else Pages(*found)


def _runs(warehouse: Warehouse, *, run_id: int | None, limit: int) -> list[RunStatus]:
    with warehouse.cursor(row_factory=class_row(RunStatus)) as cursor:
        values = {"run_id": run_id, "limit": limit}
        return cursor.execute(statement("notify/progress", "latest"), values).fetchall()
