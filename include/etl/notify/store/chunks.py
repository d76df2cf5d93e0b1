"""Chunks of a notice run: ranges of audience positions, and how far each was processed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile, statement
from etl.declare.notice import Notice, UnknownPolicy
from etl.errors import ChunkMissing
from etl.notify.audience.rules import AudienceInvalid, naming_errors_of
from etl.notify.store.runs import NoticeRun

_SQL = StatementFile("notify/chunks")

MAX_PAGE = 1_000
"""Page limit of a chunk whose senders were never killed."""


@dataclass(frozen=True)
class NoticeChunk:
    """A range of positions in the audience of a run.

    Parameters
    ----------
    run_id, ordinal
        Key of the chunk.
    start, stop
        Half-open bounds.
    recipients
        Number of recipients when the run was planned.
    position
        Last position of which all deliveries have ended or are deferred.
    attempt
        1-based; 0 before the first.
    finished_at
        When its last delivery ended; None before.
    page_limit
        Maximum number of recipients in a page; halved when a sender ran out of memory or was killed during a page, and
        doubled again after some pages without.
    """

    run_id: int
    ordinal: int
    start: int
    stop: int
    recipients: int
    position: int
    attempt: int
    finished_at: datetime | None
    page_limit: int

    @property
    def parameters(self) -> dict[str, int]:
        """Values by which statements about its deliveries find it, and its current attempt."""
        return {"run_id": self.run_id, "ordinal": self.ordinal, "attempt": self.attempt}

    def __str__(self) -> str:
        """Return the label of its mapped task in Airflow's grid."""
        return f"chunk {self.ordinal}: {self.recipients:,} recipient{'' if self.recipients == 1 else 's'}"


def plan(db: Connection, notice: Notice, run: NoticeRun) -> dict[int, int]:
    """Divide the audience of a run into chunks.

    Returns
    -------
    dict
        Ordinal → recipients; empty if there are none.

    Raises
    ------
    AudienceInvalid
        If the notice's statement fails, or returns a null position.
    """
    query = _SQL["plan"].substitute(bounds=statement(run.statement_file, "bounds"))
    sizes = {"chunk_size": notice.chunk_size, "max_chunks": notice.max_chunks}
    with naming_errors_of(run.statement_file, "bounds"):
        try:
            chunk_sizes: dict[int, int] = dict(query.rows(db, {**run.sql_parameters, **sizes}))
        except psycopg.errors.NotNullViolation as error:
            found, remedy = "returned a null position", "let positions be whole numbers that are never null"
            raise AudienceInvalid(run.statement_file, "bounds", found, remedy) from error
    _SQL["finish_planning"].run(db, {"run_id": run.run_id, "recipients": sum(chunk_sizes.values())})
    return chunk_sizes


def list_unfinished(db: Connection, run_id: int) -> list[int]:
    """Return the ordinals of the chunks that are not finished."""
    return _SQL["list_unfinished"].scalars(db, {"run_id": run_id})


def find(db: Connection, run_id: int, ordinal: int) -> NoticeChunk:
    """Return a chunk in its current state.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _fetch_chunk(db, _SQL["find"], run_id, ordinal)


def start_attempt(
    db: Connection, run_id: int, ordinal: int, *, unknown: UnknownPolicy = UnknownPolicy.HOLD
) -> NoticeChunk:
    """Start the next attempt of a chunk, whose lock the caller must hold.

    Deliveries that an earlier attempt left `claimed` become `unknown`.

    Parameters
    ----------
    unknown
        With `RESEND`, those of them that were deferred are so again, and due.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _fetch_chunk(db, _SQL["start_attempt"], run_id, ordinal, unknown=unknown.value)


def halve_page_size(db: Connection, run_id: int, ordinal: int) -> None:
    """Halve the page limit of a chunk from its next attempt on."""
    _SQL["halve_page_size"].run(db, {"run_id": run_id, "ordinal": ordinal})


def double_page_size(db: Connection, chunk: NoticeChunk) -> int:
    """Double the page limit of a chunk, up to `MAX_PAGE`, and return it."""
    values = {"run_id": chunk.run_id, "ordinal": chunk.ordinal, "max_page": MAX_PAGE}
    return int(_SQL["double_page_size"].scalar(db, values))


def finish(db: Connection, chunk: NoticeChunk) -> None:
    """Mark a chunk as finished, and its run as done if this was its last unfinished chunk."""
    values = {"run_id": chunk.run_id, "ordinal": chunk.ordinal}
    with db.transaction():
        for name in ("finish", "lock_run", "end_run"):
            _SQL[name].run(db, values)


def _fetch_chunk(db: Connection, query: Statement, run_id: int, ordinal: int, **values: str) -> NoticeChunk:
    chunk = query.first(db, NoticeChunk, {"run_id": run_id, "ordinal": ordinal, **values})
    if chunk is None:
        raise ChunkMissing("notice", str(run_id), ordinal)
    return chunk
