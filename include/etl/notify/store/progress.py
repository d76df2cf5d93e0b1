"""Status of notice runs and their recent rate, from the counters of their chunks; the ledger is not read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.notify.store.runs import NoticeRunMissing

RATE_WINDOW = timedelta(minutes=1)
"""The current rate is measured over this time, or over the part of it for which the chunks still have page times."""

_SQL = StatementFile("notify/progress")


@dataclass(frozen=True)
class RunStatus:
    """State and counts of a run.

    Parameters
    ----------
    run_id, notice, period
        Which run it is.
    state
        A value of `RunState`.
    pace
        Maximum messages a second.
    recipients
        Number of recipients.
    planned_at, ended_at, expires_at
        When it was planned, when it ended, and when its messages expire.
    sent, failed, unknown, deferred
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
    deferred: int


@dataclass(frozen=True)
class RecentSends:
    """Messages of the pages that ended recently.

    Parameters
    ----------
    messages
        Number of messages.
    seconds
        Time that they took.
    """

    messages: int
    seconds: float


def list_latest(db: Connection, *, limit: int) -> list[RunStatus]:
    """Return the latest runs, the newest first."""
    return _SQL["list_statuses"].objects(db, RunStatus, {"run_id": None, "limit": limit})


def find_status(db: Connection, run_id: int) -> RunStatus:
    """Return the status of a run.

    Raises
    ------
    NoticeRunMissing
        If there is no such run.
    """
    status = _SQL["list_statuses"].first(db, RunStatus, {"run_id": run_id, "limit": 1})
    if status is None:
        raise NoticeRunMissing(run_id)
    return status


def read_recent_sends(db: Connection, run_id: int) -> RecentSends:
    """Return the messages that a run sent recently, from the page times stored in its chunks."""
    values = {"run_id": run_id, "window": RATE_WINDOW}
    return _SQL["recent_sends"].first(db, RecentSends, values) or RecentSends(0, 0.0)
