"""Runs of notices, frozen when they are planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.store import announcements
from etl.notify.store.announcements import Announcement


class NoticeRunMissing(PermanentError):
    """A run of a notice is not known."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no run {run_id} in notify.runs; `python -m etl notify status` lists them.")


class RunState(Enum):
    """Whether a run sends."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"


@dataclass(frozen=True)
class NoticeRun:
    """One notice for one period.

    Parameters
    ----------
    run_id
        Its surrogate id.
    notice_id, notice
        What is sent.
    period
        For which period; nobody gets the notice twice for one.
    trigger
        Which run of the Dag, or which call, planned it.
    as_of
        The audience is who was there then.
    expires_at
        When its messages are of no use any more.
    parameters
        What its statements and templates are given besides.
    pace
        Messages a second over all workers, now.
    state
        Whether it sends, now.
    is_announced
        Whether it is for users who were named, and not for those whom the statements of its notice find.
    """

    run_id: int
    notice_id: int
    notice: str
    period: str
    trigger: str
    as_of: datetime
    expires_at: datetime | None
    parameters: Mapping[str, Any]
    pace: float
    state: str
    is_announced: bool = False

    @property
    def statement_file(self) -> str:
        """Which file of statements knows whom it is for."""
        return "notify/announcements" if self.is_announced else f"notices/{self.notice}"

    @property
    def sql_parameters(self) -> dict[str, Any]:
        """What the statements of its audience may name."""
        given = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in self.parameters.items()}
        return {**given, "run_id": self.run_id, "period": self.period, "as_of": self.as_of}


def find(db: Connection, run_id: int) -> NoticeRun:
    """Return a run.

    Raises
    ------
    NoticeRunMissing
        If there is none of this id.
    """
    with db.cursor(row_factory=class_row(NoticeRun)) as cursor:
        run = cursor.execute(_sql("find"), {"run_id": run_id}).fetchone()
    if run is None:
        raise NoticeRunMissing(run_id)
    return run


def find_by_period(db: Connection, notice: Notice, period: str) -> NoticeRun | None:
    """Return the run of a period, if it was planned."""
    with db.cursor(row_factory=scalar_row) as cursor:
        run_id = cursor.execute(_sql("find_by_period"), {"notice": notice.name, "period": period}).fetchone()
    return None if run_id is None else find(db, run_id)


def set_pace_or_state(db: Connection, run_id: int, *, pace: float | None = None, state: RunState | None = None) -> bool:
    """Change the pace or the state of a run; False if it has ended, or there is none.

    Parameters
    ----------
    pace
        Messages a second over all workers; None to leave it. 0 sends nothing.
    state
        `RUNNING` to resume; None to leave it.
    """
    values = {"run_id": run_id, "pace": pace, "state": state.value if state else None}
    with db.cursor() as cursor:
        return cursor.execute(_sql("set_pace_or_state"), values).fetchone() is not None


def read_totals(db: Connection, run_id: int) -> dict[str, int]:
    """Return what came of a run so far: its chunks, and deliveries by what became of them."""
    with db.cursor(row_factory=dict_row) as cursor:
        (sums,) = cursor.execute(_sql("read_totals"), {"run_id": run_id}).fetchall()
    return sums


def create(
    db: Connection,
    notice: Notice,
    period: str,
    *,
    trigger: str,
    as_of: datetime,
    parameters: Mapping[str, object],
    announcement: Announcement | None = None,
) -> NoticeRun | None:
    """Add the run of a period; None if there is one already.

    Parameters
    ----------
    announcement
        Whom it is for; None for those whom the statements of its notice find.
    """
    with db.cursor(row_factory=scalar_row) as cursor:
        (notice_id,) = cursor.execute(_sql("find_or_create_notice"), {"notice": notice.name}).fetchall()
        values = {
            "notice_id": notice_id,
            "period": period,
            "trigger": trigger,
            "as_of": as_of,
            "expires_at": as_of + notice.expiry if notice.expiry else None,
            "parameters": Jsonb(dict(parameters)),
            "pace": notice.pace,
        }
        run_id = cursor.execute(_sql("create"), values).fetchone()
    if run_id is None:
        return None
    if announcement is not None:
        announcements.add(db, run_id, announcement)
    return find(db, run_id)


def save_report(db: Connection, run_id: int, totals: Mapping[str, int]) -> None:
    """Remember what came of a run, in place of what an earlier report found."""
    db.execute(statement("notify/runs", "save_report"), {"run_id": run_id, "totals": Jsonb(dict(totals))})


def _sql(name: str) -> SQL:
    return statement("notify/runs", name)
