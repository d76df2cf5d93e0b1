"""Chunks of each run: their bounds, download attempts, and totals."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import msgspec
from psycopg.types.json import Jsonb

from etl.chunking import Chunk, DayRange, count_chunks
from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.errors import ChunkMissing
from etl.sync.records.frames import Gap

_SQL = StatementFile("sync/chunks")


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
        Records to request in one page; 0 where raw batches are read.
    first_day, last_day
        The window of a backfill; None where the feed itself is read.
    attempt
        1-based; 0 before the first download.
    opened_at
        When this attempt began, by the clock of the warehouse; None before the first download.
    """

    chunk_id: int
    start: int
    stop: int
    page_size: int
    first_day: date | None
    last_day: date | None
    attempt: int
    opened_at: datetime | None = None

    def __str__(self) -> str:
        """Return the label of the chunk, as shown in the grid of the web UI."""
        ids = f"accounts {self.bounds}" if self.page_size else f"raw batches {self.bounds}"
        return f"{ids}, {self.days}" if self.days else ids

    @property
    def bounds(self) -> Chunk:
        """The bounds as a chunk."""
        return Chunk(self.start, self.stop)

    @property
    def days(self) -> DayRange | None:
        """The window of a backfill; None where the feed itself is read."""
        return None if self.first_day is None or self.last_day is None else DayRange(self.first_day, self.last_day)


@dataclass(frozen=True)
class WaitingLogins:
    """Logins that need a login and are not due for another try yet.

    Parameters
    ----------
    logins
        How many there are.
    first_try_at
        When the first of them is tried again; None if there are none.
    """

    logins: int
    first_try_at: datetime | None


def plan_account_chunks(
    db: Connection,
    *,
    entity: str,
    run_id: str,
    provider: str,
    days: DayRange | None,
    page_size: int,
    size: int,
    maximum: int,
) -> list[int]:
    """Split the provider accounts that a run asks into its chunks; planning a run again replaces its earlier plan.

    Parameters
    ----------
    days
        The window of a backfill; None where the feed itself is read.
    page_size
        Records to request in one page.
    size
        Accounts in a chunk; more if there would be more than `maximum` chunks.
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
        count_statement="count_active_accounts",
        plan_statement="plan_account_chunks",
        size=size,
        maximum=maximum,
    )


def plan_batch_chunks(
    db: Connection, *, entity: str, run_id: str, sources: Collection[str], version: int, size: int, maximum: int
) -> list[int]:
    """Split the raw batches that an entity has not loaded yet into the chunks of a run.

    Parameters
    ----------
    sources
        Names of the sources whose batches it reads.
    version
        Version of the entity.
    size
        Batches in a chunk; more if there would be more than `maximum` chunks.
    maximum
        Most chunks.

    Returns
    -------
    list of int
        The ordinals of the chunks, from 0.
    """
    run = {"entity": entity, "run_id": run_id, "sources": list(sources), "version": version}
    return _replace_plan(
        db,
        run,
        count_statement="count_pending_batches",
        plan_statement="plan_batch_chunks",
        size=size,
        maximum=maximum,
    )


def find_waiting(db: Connection, *, provider: str) -> WaitingLogins:
    """Return the logins that no run asks yet, since they wait for another try."""
    (waiting,) = _SQL["find_waiting"].objects(db, WaitingLogins, {"provider": provider})
    return waiting


def count_pending_batches(db: Connection, *, entity: str, sources: Collection[str], version: int) -> int:
    """Return how many raw batches an entity has not loaded yet."""
    values = {"entity": entity, "sources": list(sources), "version": version}
    return int(_SQL["count_pending_batches"].scalar(db, values))


def pending_batches(
    db: Connection, chunk: PlannedChunk, *, entity: str, sources: Collection[str], version: int
) -> list[int]:
    """Return the raw batches of a chunk that its entity has not loaded yet, in the order in which they were sealed."""
    values = {"entity": entity, "sources": list(sources), "version": version}
    return _SQL["pending_batches"].scalars(db, {**values, "start": chunk.start, "stop": chunk.stop})


def open_attempt(db: Connection, *, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    """Start the next download attempt of a chunk; halve its page size if the attempt before was never closed.

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
    """Close the attempt when the block ends, with or without an error.

    An attempt that runs out of memory stays open, as if it was killed.

    Parameters
    ----------
    outcome_counts
        Outcome → number of accounts; read when the block has ended.
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
    db: Connection,
    chunk: PlannedChunk,
    provider_account_id: int,
    *,
    outcome: str,
    reason: str,
    token_version: int | None,
) -> None:
    """Record why the attempt of the chunk skipped a provider account.

    Parameters
    ----------
    token_version
        Version of the access token that was used; None if no request was sent.
    """
    values = {"provider_account_id": provider_account_id, "outcome": outcome, "reason": reason}
    attempt = {"chunk_id": chunk.chunk_id, "attempt": chunk.attempt, "token_version": token_version}
    _SQL["record_skipped_account"].run(db, {**values, **attempt})


def record_gaps(db: Connection, chunk: PlannedChunk, provider_account_id: int, gaps: Iterable[Gap]) -> None:
    """Record what the pages of a provider account lack, as they say themselves."""
    login = {"chunk_id": chunk.chunk_id, "attempt": chunk.attempt, "provider_account_id": provider_account_id}
    for gap in gaps:
        _SQL["record_gap"].run(db, {**login, **msgspec.structs.asdict(gap)})


def count_incomplete(db: Connection, *, entity: str, run_id: str) -> int:
    """Return how many provider accounts of a run got a response that lacks records, as it says itself."""
    return int(_SQL["count_incomplete"].scalar(db, {"entity": entity, "run_id": run_id}))


def gaps_of_run(db: Connection, *, entity: str, run_id: str, limit: int) -> list[tuple[int, str, str]]:
    """Return what responses of a run lack: provider account, part and what the provider says, each once."""
    return _SQL["gaps_of_run"].rows(db, {"entity": entity, "run_id": run_id, "limit": limit})


def left_out_by_outcome(db: Connection, *, entity: str, run_id: str) -> dict[str, int]:
    """Return how many logins the downloads and loads of a run have left out: outcome → logins."""
    return dict(_SQL["left_out_by_outcome"].rows(db, {"entity": entity, "run_id": run_id}))


def totals(db: Connection, *, entity: str, run_id: str, version: int) -> dict[str, int]:
    """Return what a run that downloads its data itself has loaded so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the fields of `LoadCounts`, and provider accounts as `accounts_<outcome>`.
    """
    run = {"entity": entity, "run_id": run_id, "version": version}
    (sums,) = _SQL["totals"].dicts(db, run)
    outcomes = _SQL["outcome_counts"].rows(db, run)
    return {**sums, **{f"accounts_{outcome}": accounts for outcome, accounts in outcomes}}


def totals_of_raw_batches(db: Connection, *, entity: str, run_id: str, version: int) -> dict[str, int]:
    """Return what a run over the raw batches of another entity has loaded so far: as `totals`, but without accounts."""
    run = {"entity": entity, "run_id": run_id, "version": version}
    (sums,) = _SQL["totals_of_raw_batches"].dicts(db, run)
    return sums


def labels_of_run(db: Connection, *, entity: str, run_id: str) -> dict[int, str]:
    """Return the labels of the chunks of a run, by ordinal."""
    rows = _SQL["chunks_of_run"].dicts(db, {"entity": entity, "run_id": run_id})
    return {row.pop("ordinal"): str(PlannedChunk(**row)) for row in rows}


def count_by_run(db: Connection, *, entity: str, run_ids: Collection[str]) -> dict[str, int]:
    """Return the number of chunks of each run; runs without chunks are missing from the dict."""
    return dict(_SQL["count_by_run"].rows(db, {"entity": entity, "run_ids": list(run_ids)}))


def _replace_plan(
    db: Connection, run: dict[str, object], *, count_statement: str, plan_statement: str, size: int, maximum: int
) -> list[int]:
    with db.transaction():
        rows = _SQL[count_statement].scalar(db, run)
        chunks = count_chunks(rows, size=size, maximum=maximum)
        ordinals = _SQL[plan_statement].scalars(db, {**run, "rows": rows, "chunks": chunks}) if chunks else []
        _SQL["withdraw_surplus_chunks"].run(db, {**run, "chunks": len(ordinals)})
    return sorted(ordinals)


def _close_attempt(db: Connection, chunk: PlannedChunk, outcome_counts: Mapping[str, int]) -> None:
    values = {"chunk_id": chunk.chunk_id, "attempt": chunk.attempt, "outcome": Jsonb(dict(outcome_counts))}
    _SQL["close_attempt"].run(db, values)


def _fetch_chunk(db: Connection, statement_name: str, entity: str, run_id: str, ordinal: int) -> PlannedChunk:
    values = {"entity": entity, "run_id": run_id, "ordinal": ordinal}
    chunk = _SQL[statement_name].first(db, PlannedChunk, values)
    if chunk is None:
        raise ChunkMissing(entity, run_id, ordinal)
    return chunk
