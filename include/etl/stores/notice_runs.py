"""Runs of notices, frozen when they are planned, and the chunks of their audiences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from etl.declare.notice import Notice
from etl.errors import ChunkMissing, PermanentError
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse


class NoticeRunMissing(PermanentError):
    """A run of a notice is not known."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no run {run_id} in notify.runs; `python -m etl notify status` lists them.")


class State(Enum):
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
    announced
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
    announced: bool = False

    @property
    def audience(self) -> str:
        """Which file of statements knows whom it is for."""
        return "stores/announcements" if self.announced else f"notices/{self.notice}"

    @property
    def values(self) -> dict[str, Any]:
        """What the statements of its audience may name."""
        given = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in self.parameters.items()}
        return {**given, "run_id": self.run_id, "period": self.period, "as_of": self.as_of}


@dataclass(frozen=True)
class NoticeChunk:
    """A range of a run's audience.

    Parameters
    ----------
    run_id, ordinal
        Which.
    start, stop
        Its half-open bounds.
    recipients
        How many they hold.
    position
        The last position whose deliveries have ended.
    attempt
        1-based; 0 before the first.
    finished_at
        When it had been walked to its end.
    walked_to, reopened_at
        How far it had been walked when it was reopened, and when that was; None if it was not.
    page_limit
        Most recipients in a page; less than before if a sender was killed in the middle of one.
    """

    run_id: int
    ordinal: int
    start: int
    stop: int
    recipients: int
    position: int
    attempt: int
    finished_at: datetime | None
    walked_to: int | None
    reopened_at: datetime | None
    page_limit: int

    def __str__(self) -> str:
        """Return which it is, as shown in the grid."""
        return f"chunk {self.ordinal}: {self.recipients:,} recipient{'' if self.recipients == 1 else 's'}"


def find(warehouse: Warehouse, run_id: int) -> NoticeRun:
    """Return a run.

    Raises
    ------
    NoticeRunMissing
        If there is none of this id.
    """
    with warehouse.cursor(row_factory=class_row(NoticeRun)) as cursor:
        run = cursor.execute(_named("find"), {"run_id": run_id}).fetchone()
    if run is None:
        raise NoticeRunMissing(run_id)
    return run


def of_period(warehouse: Warehouse, notice: Notice, period: str) -> NoticeRun | None:
    """Return the run of a period, if it was planned."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        run_id = cursor.execute(_named("of_period"), {"notice": notice.name, "period": period}).fetchone()
    return None if run_id is None else find(warehouse, run_id)


def unfinished(warehouse: Warehouse, run_id: int) -> list[int]:
    """Return the ordinals of the chunks that are still to be sent."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_named("unfinished"), {"run_id": run_id}).fetchall()


def chunk(warehouse: Warehouse, run_id: int, ordinal: int) -> NoticeChunk:
    """Return a chunk as it stands.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _chunk(warehouse, "chunk", run_id, ordinal)


def open_attempt(warehouse: Warehouse, run_id: int, ordinal: int) -> NoticeChunk:
    """Start the next attempt of a chunk, whose lock the caller holds; what an older one left claimed becomes unknown.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _chunk(warehouse, "open_attempt", run_id, ordinal)


def halve(warehouse: Warehouse, run_id: int, ordinal: int) -> None:
    """Let the pages of a chunk be half as large from its next attempt on."""
    warehouse.execute(_named("halve"), {"run_id": run_id, "ordinal": ordinal})


def stall(warehouse: Warehouse, chunk: NoticeChunk) -> int:
    """Remember that the server took nothing of a page; return how often in a row that was."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": chunk.run_id, "ordinal": chunk.ordinal}
        (stalls,) = cursor.execute(_named("stall"), values).fetchall()
    return int(stalls)


def finish(warehouse: Warehouse, chunk: NoticeChunk) -> None:
    """Remember that a chunk has been walked to its end; with the last one its run is done."""
    values = {"run_id": chunk.run_id, "ordinal": chunk.ordinal}
    with warehouse.transaction():
        for name in ("finish", "lock", "end"):
            warehouse.execute(_named(name), values)


def steer(warehouse: Warehouse, run_id: int, *, pace: float | None = None, state: State | None = None) -> bool:
    """Change the pace or the state of a run; False if it has ended, or there is none.

    Parameters
    ----------
    pace
        Messages a second over all workers; None to leave it. 0 sends nothing.
    state
        `RUNNING` to resume; None to leave it.
    """
    values = {"run_id": run_id, "pace": pace, "state": state.value if state else None}
    with warehouse.cursor() as cursor:
        return cursor.execute(_named("steer"), values).fetchone() is not None


def totals(warehouse: Warehouse, run_id: int) -> dict[str, int]:
    """Return what came of a run so far: its chunks, and deliveries by what became of them."""
    with warehouse.cursor(row_factory=dict_row) as cursor:
        (sums,) = cursor.execute(_named("totals"), {"run_id": run_id}).fetchall()
    return sums


def _named(name: str) -> SQL:
    return statement("stores/notice_runs", name)


def _chunk(warehouse: Warehouse, name: str, run_id: int, ordinal: int) -> NoticeChunk:
    with warehouse.cursor(row_factory=class_row(NoticeChunk)) as cursor:
        found = cursor.execute(_named(name), {"run_id": run_id, "ordinal": ordinal}).fetchone()
    if found is None:
        raise ChunkMissing("notice", str(run_id), ordinal)
    return found
