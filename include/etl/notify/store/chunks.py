"""Chunks of the audience of a notice run: ranges that are walked by key, and how far each was walked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL

from etl.db.connection import Warehouse
from etl.db.statements import spliced, statement
from etl.declare.notice import Notice
from etl.errors import ChunkMissing
from etl.notify.store.runs import NoticeRun


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


def cut(warehouse: Warehouse, notice: Notice, run: NoticeRun) -> dict[int, int]:
    """Cut the audience of a run into chunks.

    Returns
    -------
    dict
        Ordinal → recipients; empty if there is nobody.
    """
    text = spliced(_named("cut"), bounds=statement(run.audience, "bounds"))
    sizes = {"chunk_size": notice.chunk_size, "max_chunks": notice.max_chunks}
    with warehouse.cursor() as cursor:
        chunks: dict[int, int] = dict(cursor.execute(text, {**run.values, **sizes}).fetchall())
        cursor.execute(_named("planned"), {"run_id": run.run_id, "recipients": sum(chunks.values())})
    return chunks


def unfinished(warehouse: Warehouse, run_id: int) -> list[int]:
    """Return the ordinals of the chunks that are still to be sent."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_named("unfinished"), {"run_id": run_id}).fetchall()


def find(warehouse: Warehouse, run_id: int, ordinal: int) -> NoticeChunk:
    """Return a chunk as it stands.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _chunk(warehouse, "find", run_id, ordinal)


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


def _named(name: str) -> SQL:
    return statement("notify/chunks", name)


def _chunk(warehouse: Warehouse, name: str, run_id: int, ordinal: int) -> NoticeChunk:
    with warehouse.cursor(row_factory=class_row(NoticeChunk)) as cursor:
        found = cursor.execute(_named(name), {"run_id": run_id, "ordinal": ordinal}).fetchone()
    if found is None:
        raise ChunkMissing("notice", str(run_id), ordinal)
    return found
