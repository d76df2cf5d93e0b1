"""Chunks of the audience of a notice run: ranges that are walked by key, and how far each was walked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from etl.db.connection import Connection
from etl.db.statements import Statement, statement
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


def plan(db: Connection, notice: Notice, run: NoticeRun) -> dict[int, int]:
    """Cut the audience of a run into chunks.

    Returns
    -------
    dict
        Ordinal → recipients; empty if there is nobody.
    """
    text = _sql("plan").substitute(bounds=statement(run.statement_file, "bounds"))
    sizes = {"chunk_size": notice.chunk_size, "max_chunks": notice.max_chunks}
    with db.cursor() as cursor:
        chunks: dict[int, int] = dict(cursor.execute(text, {**run.sql_parameters, **sizes}).fetchall())
        cursor.execute(_sql("finish_planning"), {"run_id": run.run_id, "recipients": sum(chunks.values())})
    return chunks


def list_unfinished(db: Connection, run_id: int) -> list[int]:
    """Return the ordinals of the chunks that are still to be sent."""
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_sql("list_unfinished"), {"run_id": run_id}).fetchall()


def find(db: Connection, run_id: int, ordinal: int) -> NoticeChunk:
    """Return a chunk as it stands.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _fetch_chunk(db, "find", run_id, ordinal)


def start_attempt(db: Connection, run_id: int, ordinal: int) -> NoticeChunk:
    """Start the next attempt of a chunk, whose lock the caller holds; what an older one left claimed becomes unknown.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _fetch_chunk(db, "start_attempt", run_id, ordinal)


def halve_page_size(db: Connection, run_id: int, ordinal: int) -> None:
    """Let the pages of a chunk be half as large from its next attempt on."""
    db.execute(_sql("halve_page_size"), {"run_id": run_id, "ordinal": ordinal})


def count_stall(db: Connection, chunk: NoticeChunk) -> int:
    """Remember that the server took nothing of a page; return how often in a row that was."""
    with db.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": chunk.run_id, "ordinal": chunk.ordinal}
        (stalls,) = cursor.execute(_sql("count_stall"), values).fetchall()
    return int(stalls)


def finish(db: Connection, chunk: NoticeChunk) -> None:
    """Remember that a chunk has been walked to its end; with the last one its run is done."""
    values = {"run_id": chunk.run_id, "ordinal": chunk.ordinal}
    with db.transaction():
        for name in ("finish", "lock_run", "end_run"):
            db.execute(_sql(name), values)


def _sql(name: str) -> Statement:
    return statement("notify/chunks", name)


def _fetch_chunk(db: Connection, statement_name: str, run_id: int, ordinal: int) -> NoticeChunk:
    with db.cursor(row_factory=class_row(NoticeChunk)) as cursor:
        found = cursor.execute(_sql(statement_name), {"run_id": run_id, "ordinal": ordinal}).fetchone()
    if found is None:
        raise ChunkMissing("notice", str(run_id), ordinal)
    return found
