"""What each run planned: its chunks, their attempts, and what became of them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.types.json import Jsonb

from etl.chunking import Chunk, Days, count_chunks
from etl.db.connection import Connection
from etl.db.statements import statement
from etl.errors import ChunkMissing


@dataclass(frozen=True)
class PlannedChunk:
    """A chunk of a run, with its latest download attempt.

    Parameters
    ----------
    chunk_id
        Its surrogate id.
    start, stop
        Its half-open bounds, in ids of provider accounts or of raw batches.
    page_size
        Records to ask for in one page; 0 where raw batches are read.
    first_day, last_day
        The window of a backfill.
    attempt
        1-based; 0 before the first download.
    """

    chunk_id: int
    start: int
    stop: int
    page_size: int
    first_day: date | None
    last_day: date | None
    attempt: int

    def __str__(self) -> str:
        """Return what the chunk is about, as shown in the grid."""
        ids = f"accounts {self.bounds}" if self.page_size else f"raw batches {self.bounds}"
        return f"{ids}, {self.days}" if self.days else ids

    @property
    def bounds(self) -> Chunk:
        """The bounds as a chunk."""
        return Chunk(self.start, self.stop)

    @property
    def days(self) -> Days | None:
        """The window of a backfill; None where the feed itself is read."""
        return None if self.first_day is None or self.last_day is None else Days(self.first_day, self.last_day)


def plan_account_chunks(
    db: Connection,
    *,
    entity: str,
    run_id: str,
    provider: str,
    days: Days | None,
    page_size: int,
    size: int,
    maximum: int,
) -> list[int]:
    """Cut the active provider accounts into the chunks of a run; cutting again replaces the earlier plan.

    Parameters
    ----------
    days
        The window of a backfill; None where the feed itself is read.
    page_size
        Records to ask for in one page.
    size
        Accounts in a chunk.
    maximum
        Most chunks.

    Returns
    -------
    list of int
        The ordinals of the chunks, from 0.
    """
    first, last = (days.first, days.last) if days else (None, None)
    run = {"entity": entity, "run_id": run_id, "provider": provider, "page_size": page_size}
    return _replace_plan(
        db,
        {**run, "first_day": first, "last_day": last},
        ("count_active_accounts", "plan_account_chunks"),
        size=size,
        maximum=maximum,
    )


def plan_batch_chunks(
    db: Connection, *, entity: str, run_id: str, sources: Collection[str], version: int, size: int, maximum: int
) -> list[int]:
    """Cut the raw batches that an entity has not loaded yet into the chunks of a run.

    Parameters
    ----------
    sources
        Names of the sources whose batches it reads.
    version
        Of the entity.
    size
        Batches in a chunk.
    maximum
        Most chunks.

    Returns
    -------
    list of int
        The ordinals of the chunks, from 0.
    """
    run = {"entity": entity, "run_id": run_id, "sources": list(sources), "version": version}
    return _replace_plan(db, run, ("count_pending_batches", "plan_batch_chunks"), size=size, maximum=maximum)


def count_pending_batches(db: Connection, *, entity: str, sources: Collection[str], version: int) -> int:
    """Return how many raw batches an entity has not loaded yet."""
    values = {"entity": entity, "sources": list(sources), "version": version}
    with db.cursor(row_factory=scalar_row) as cursor:
        (rows,) = cursor.execute(statement("sync/chunks", "count_pending_batches"), values).fetchall()
    return int(rows)


def pending_batches(
    db: Connection, chunk: PlannedChunk, *, entity: str, sources: Collection[str], version: int
) -> list[int]:
    """Return the raw batches of a chunk that its entity has not loaded yet, in the order in which they were sealed."""
    values = {"entity": entity, "sources": list(sources), "version": version}
    with db.cursor(row_factory=scalar_row) as cursor:
        bounds = {**values, "start": chunk.start, "stop": chunk.stop}
        return cursor.execute(statement("sync/chunks", "pending_batches"), bounds).fetchall()


def open_attempt(db: Connection, *, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    """Start the next download attempt of a chunk, with pages of half the size if the one before was never closed.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _fetch_chunk(db, "open_attempt", entity, run_id, ordinal)


def find(db: Connection, *, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    """Return a chunk with its latest attempt.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    """
    return _fetch_chunk(db, "find", entity, run_id, ordinal)


@contextmanager
def closing_attempt(db: Connection, chunk: PlannedChunk, outcome_counts: Mapping[str, int]) -> Iterator[None]:
    """Close an attempt when the block ends, well or badly; one that runs out of memory stays open, as if killed.

    Parameters
    ----------
    outcome_counts
        Accounts for each outcome, as the block leaves it.
    """
    try:
        yield
    except MemoryError:
        raise
    except BaseException:
        _close_attempt(db, chunk, outcome_counts)
        raise
    _close_attempt(db, chunk, outcome_counts)


def record_skipped_account(
    db: Connection, chunk: PlannedChunk, provider_account_id: int, *, outcome: str, reason: str
) -> None:
    """Keep the reason why an account is not among those of the chunk's attempt."""
    values = {"provider_account_id": provider_account_id, "outcome": outcome, "reason": reason}
    db.execute(
        statement("sync/chunks", "record_skipped_account"),
        {**values, "chunk_id": chunk.chunk_id, "attempt": chunk.attempt},
    )


def totals(db: Connection, *, entity: str, run_id: str, version: int) -> dict[str, int]:
    """Return what a run of its own downloads loaded so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the counts of `loads.Counts`, and provider accounts as `accounts_<outcome>`.
    """
    run = {"entity": entity, "run_id": run_id, "version": version}
    with db.cursor(row_factory=dict_row) as cursor:
        (sums,) = cursor.execute(statement("sync/chunks", "totals"), run).fetchall()
        outcomes = cursor.execute(statement("sync/chunks", "outcome_counts"), run).fetchall()
    return {**sums, **{f"accounts_{row['outcome']}": row["accounts"] for row in outcomes}}


def totals_of_raw_batches(db: Connection, *, entity: str, run_id: str, version: int) -> dict[str, int]:
    """Return what a run over the raw batches of another entity loaded so far, as `totals` does."""
    run = {"entity": entity, "run_id": run_id, "version": version}
    with db.cursor(row_factory=dict_row) as cursor:
        (sums,) = cursor.execute(statement("sync/chunks", "totals_of_raw_batches"), run).fetchall()
    return sums


def labels_of_run(db: Connection, *, entity: str, run_id: str) -> dict[int, str]:
    """Return what the chunks of a run are about, by ordinal."""
    with db.cursor(row_factory=dict_row) as cursor:
        run = {"entity": entity, "run_id": run_id}
        rows = cursor.execute(statement("sync/chunks", "chunks_of_run"), run).fetchall()
    return {row.pop("ordinal"): str(PlannedChunk(**row)) for row in rows}


def count_by_run(db: Connection, *, entity: str, run_ids: Collection[str]) -> dict[str, int]:
    """Return how many chunks each of some runs had; those that had none are left out."""
    with db.cursor() as cursor:
        runs = {"entity": entity, "run_ids": list(run_ids)}
        return dict(cursor.execute(statement("sync/chunks", "count_by_run"), runs).fetchall())


def _replace_plan(
    db: Connection, run: dict[str, object], statement_names: tuple[str, str], *, size: int, maximum: int
) -> list[int]:
    count, cut = statement_names
    with db.transaction(), db.cursor(row_factory=scalar_row) as cursor:
        (rows,) = cursor.execute(statement("sync/chunks", count), run).fetchall()
        chunks = count_chunks(rows, size=size, maximum=maximum)
        values = {**run, "rows": rows, "chunks": chunks}
        ordinals = cursor.execute(statement("sync/chunks", cut), values).fetchall() if chunks else []
        cursor.execute(statement("sync/chunks", "withdraw_surplus_chunks"), {**run, "chunks": len(ordinals)})
    return sorted(ordinals)


def _close_attempt(db: Connection, chunk: PlannedChunk, outcome_counts: Mapping[str, int]) -> None:
    db.execute(
        statement("sync/chunks", "close_attempt"),
        {"chunk_id": chunk.chunk_id, "attempt": chunk.attempt, "outcome": Jsonb(dict(outcome_counts))},
    )


def _fetch_chunk(db: Connection, statement_name: str, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    values = {"entity": entity, "run_id": run_id, "ordinal": ordinal}
    with db.cursor(row_factory=class_row(PlannedChunk)) as cursor:
        chunk = cursor.execute(statement("sync/chunks", statement_name), values).fetchone()
    if chunk is None:
        raise ChunkMissing(entity, run_id, ordinal)
    return chunk
