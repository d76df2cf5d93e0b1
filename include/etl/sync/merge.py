"""Merging of a typed batch into the core table, shared by load and replay.

The first load of a feed's batch moves the cursors. On a second load no cursor moves, and every record keeps the
effective time of its first load, so that newer data is not overwritten.
"""

import logging
from dataclasses import dataclass
from typing import Any

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.declare.entity import Entity
from etl.declare.source import Feed, RawOf, Snapshot, Window
from etl.sync.history import after_merge
from etl.sync.records.duplicates import DuplicateFilter
from etl.sync.store import cursors, loads, reconciliations, rejects, staging
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch

log = logging.getLogger(__name__)

MAX_SCANNED_ROWS_PER_RECORD = 2
"""Existing rows per record of a batch up to which all rows of its accounts are read, instead of looked up by key."""

Origin = Feed | Snapshot | Window | RawOf


@dataclass(frozen=True)
class StagedBatch:
    """A batch in the staging table `incoming`, ready to be merged.

    Parameters
    ----------
    was_loaded
        Whether any version of the entity loaded it before.
    rows
        All its rows.
    has_removals
        Whether any of them is a removal.
    stale, superseded
        How many of its rows were already dropped as stale or superseded.
    """

    was_loaded: bool
    rows: int
    has_removals: bool
    stale: int
    superseded: int


@dataclass(frozen=True)
class MergeResult:
    """What a batch did to the core table.

    Parameters
    ----------
    counts
        Its records, counted by what became of them.
    closed_keys
        Keys of the rows that were closed although none of its records removes them.
    """

    counts: LoadCounts
    closed_keys: list[tuple[Any, ...]]


def stage(entity: Entity, typed_batch: TypedBatch, *, db: Connection) -> StagedBatch:
    """Fill `incoming` with the rows of a batch that are not outdated; other loads of them wait for the commit."""
    raw_id = typed_batch.raw_batch.raw_id
    origin = entity.find_source(typed_batch.raw_batch.source)
    was_loaded = loads.was_loaded(db, raw_id=raw_id, entity=entity.name)
    duplicate_filter = DuplicateFilter(entity)
    staging.fill_rows(db, entity, duplicate_filter.drop_duplicates(typed_batch.rows()))
    if entity.feed_name is None:
        # Without cursors there is nothing to lock per account, and row locks alone would cost WAL: take one advisory
        # lock for the entity.
        loads.lock_entity(db, entity=entity.name)
        if isinstance(origin, Snapshot):
            staging.fill_cursor_moves(db, typed_batch.cursor_moves())
    else:
        staging.fill_cursor_moves(db, typed_batch.cursor_moves())
        cursors.lock(db, feed=entity.feed_name)
    stale_by_account: dict[int, int] = {}
    if isinstance(origin, Feed):
        stale_by_account = _apply_feed_order(origin, raw_id, duplicate_filter, was_loaded=was_loaded, db=db)
    stale_duplicates = sum(duplicate_filter.dropped_by_account[account] for account in stale_by_account)
    stale = sum(stale_by_account.values()) + stale_duplicates
    superseded = duplicate_filter.dropped_by_account.total() - stale_duplicates
    if duplicate_filter.has_possible_duplicates:
        superseded += staging.drop_superseded(db, entity)
    superseded += _drop_outdated(entity, origin, raw_id, was_loaded=was_loaded, db=db)
    if isinstance(origin, Window) and isinstance(entity.source, Feed) and entity.source.removals:
        superseded += _drop_unconfirmed(entity, db=db)
    return StagedBatch(was_loaded, duplicate_filter.rows, duplicate_filter.has_removals, stale, superseded)


def merge_staged(
    entity: Entity, typed_batch: TypedBatch, staged_batch: StagedBatch, *, rejected: int, db: Connection
) -> MergeResult:
    """Merge `incoming` into the core table; on the first load of a feed's batch, move the cursors."""
    raw_id = typed_batch.raw_batch.raw_id
    origin = entity.find_source(typed_batch.raw_batch.source)
    merged = _merge_rows(entity, staged_batch.rows, raw_id, db=db)
    removed = {"removed": 0, "superseded": 0}
    if staged_batch.has_removals:
        removed = _run_and_count(db, _statements_of(entity)["remove"], raw_id)
    closed_keys = _close_unreported_rows(entity, typed_batch, origin, db=db)
    if isinstance(origin, Feed) and not staged_batch.was_loaded:
        cursors.advance(db, feed=origin.name, raw_id=raw_id)
    elif isinstance(origin, Window) and entity.feed_name and (merged["inserted"] or merged["updated"] or closed_keys):
        cursors.record_observation(db, feed=entity.feed_name)
    elif isinstance(origin, Snapshot):
        closed_keys += after_merge.close_missing(db, entity, raw_id=raw_id)
    if entity.feed_name:
        after_merge.carry_corrections(db, entity)
    changed = merged["inserted"] + merged["updated"] + removed["removed"]
    superseded = staged_batch.superseded + merged["superseded"] + removed["superseded"]
    counts = LoadCounts(
        read=staged_batch.rows + rejected,
        inserted=merged["inserted"],
        updated=merged["updated"],
        unchanged=staged_batch.rows - staged_batch.stale - superseded - changed,
        removed=removed["removed"],
        superseded=superseded,
        stale=staged_batch.stale,
        rejected=rejected,
    )
    return MergeResult(counts, closed_keys)


def _drop_outdated(entity: Entity, origin: Origin, raw_id: int, *, was_loaded: bool, db: Connection) -> int:
    """Drop records that later batches have outdated, and return how many those were."""
    dropped = staging.drop_overwritten(db, entity, raw_id=raw_id) if was_loaded else 0
    match origin:
        case Window() if entity.feed_name and was_loaded:
            dropped += staging.drop_older_than_feed_on_replay(db, entity, feed=entity.feed_name, raw_id=raw_id)
        case Window() if entity.feed_name:
            dropped += staging.drop_older_than_feed(db, feed=entity.feed_name)
        case Snapshot() if not was_loaded:
            dropped += staging.drop_older_than_snapshot(db, entity, raw_id=raw_id)
    return dropped


def _drop_unconfirmed(entity: Entity, *, db: Connection) -> int:
    """Drop a window's records that only a feed with removals may bring, if any are, and return how many those were."""
    file = _statements_of(entity)
    return file["drop_unconfirmed"].run(db) if "drop_unconfirmed" in file else 0


def _apply_feed_order(
    feed: Feed, raw_id: int, duplicate_filter: DuplicateFilter, *, was_loaded: bool, db: Connection
) -> dict[int, int]:
    """Drop stale accounts, correct timestamps to the order of the feed, and return the dropped rows of each account."""
    if was_loaded:
        stale_by_account = cursors.drop_recorded_stale_accounts(db, raw_id=raw_id)
        cursors.reapply_clamped_timestamps(db, raw_id=raw_id)
        return stale_by_account
    stale_by_account = cursors.drop_stale_accounts(db, feed=feed.name, raw_id=raw_id)
    cursors.clamp_timestamps(
        db, feed=feed.name, raw_id=raw_id, earliest_observed_at=duplicate_filter.earliest_observed_at
    )
    return stale_by_account


def _close_unreported_rows(
    entity: Entity, typed_batch: TypedBatch, origin: Origin, *, db: Connection
) -> list[tuple[Any, ...]]:
    """Close rows whose end no record reports, and rejects that a record ends; return the keys of the closed rows.

    Which rows these are is said by the statements that the entity's file has.
    """
    file = _statements_of(entity)
    raw_id = typed_batch.raw_batch.raw_id
    keys_by_statement: dict[str, list[tuple[Any, ...]]] = {}
    if "close_pending" in file and not isinstance(origin, Snapshot):
        keys_by_statement["close_pending"] = file["close_pending"].rows(db, {"raw_id": raw_id})
    rejects.close_loaded(db, entity, raw_id=raw_id)
    if "close_held" in file:
        keys_by_statement["close_held"] = file["close_held"].rows(db, {"raw_id": raw_id})
    if "mark_outdated" in file and not isinstance(origin, RawOf):
        rejects.mark_outdated(db, entity, file["mark_outdated"], raw_id=raw_id, source=origin)
    if "close_absent" in file and isinstance(origin, Feed) and typed_batch.has_full_read():
        keys_by_statement["close_absent"] = reconciliations.close_absent(db, entity, file, raw_id=raw_id)
    for name, keys in keys_by_statement.items():
        if keys:
            log.info("%s: raw batch %d: %d rows closed (%s)", entity.name, raw_id, len(keys), name)
    return [key for keys in keys_by_statement.values() for key in keys]


def _merge_rows(entity: Entity, rows: int, raw_id: int, *, db: Connection) -> dict[str, int]:
    """Merge the records that differ from existing rows, and return their counts.

    Where the entity's SQL file can find existing rows by key or by account, all rows of the batch's accounts are read
    if they are few relative to the rows of the batch.
    """
    file = _statements_of(entity)
    with staging.prefer_index_lookup(db):
        if "existing_of_accounts" not in file:
            return _run_and_count(db, file["merge"], raw_id)
        if not staging.has_few_existing_rows(db, entity, limit=MAX_SCANNED_ROWS_PER_RECORD * rows):
            return _run_and_count(db, file["merge"].substitute(existing=file["existing_by_key"]), raw_id)
        with staging.prefer_hash_join(db):
            return _run_and_count(db, file["merge"].substitute(existing=file["existing_of_accounts"]), raw_id)


def _statements_of(entity: Entity) -> StatementFile:
    return StatementFile(f"entities/{entity.name}")


def _run_and_count(db: Connection, query: Statement, raw_id: int) -> dict[str, int]:
    (counts,) = query.dicts(db, {"raw_id": raw_id})
    return counts
