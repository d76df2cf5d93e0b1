"""Merge: bring the core table to what a typed batch says; what load and replay share.

A feed's batch that was never loaded moves the cursors. Loaded again, it moves none, and each record counts as late as
it did the first time, so that nothing which came after it is undone.
"""

import logging
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from psycopg.sql import SQL

from etl.db.connection import Connection
from etl.db.statements import statement, statements
from etl.declare.entity import Entity
from etl.declare.source import Feed, RawOf, Snapshot, Window
from etl.sync.records.duplicates import DuplicateFilter
from etl.sync.store import cursors, loads, staging
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch

log = logging.getLogger(__name__)

MAX_SCANNED_ROWS_PER_RECORD = 2
"""Rows of the core table that are read for each record of a batch, rather than looked up by their keys."""

Origin = Feed | Snapshot | Window | RawOf


@dataclass(frozen=True)
class StagedBatch:
    """A batch that lies in `incoming`, ready to be applied.

    Parameters
    ----------
    was_loaded
        Whether it was loaded before.
    rows
        Rows that it brought.
    has_removals
        Whether any of them tells that a record is gone.
    stale, superseded
        Those of them that were left out already.
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
        What became of its records.
    closed_keys
        Keys of the rows that ended though none of its records tells so.
    """

    counts: LoadCounts
    closed_keys: list[tuple[Any, ...]]


def stage(entity: Entity, typed_batch: TypedBatch, *, db: Connection) -> StagedBatch:
    """Put the rows of a batch that may still count into `incoming`, and keep other loads of its rows out."""
    raw_id = typed_batch.raw_batch.raw_id
    origin = entity.find_source(typed_batch.raw_batch.source)
    again = loads.was_loaded(db, raw_id=raw_id, entity=entity.name)
    survey = DuplicateFilter(entity)
    staging.fill_rows(db, entity, survey.drop_duplicates(typed_batch.rows()))
    if entity.feed_name is None:
        # A row lock is logged, and where no cursor ever moves it would be all that is: one lock does for all.
        loads.lock_entity(db, entity=entity.name)
    else:
        staging.fill_cursor_moves(db, typed_batch.cursor_moves())
        cursors.lock(db, feed=entity.feed_name)
    left_out = _apply_feed_order(origin, raw_id, survey, was_loaded=again, db=db) if isinstance(origin, Feed) else {}
    repeated_of_these = sum(survey.dropped_by_account[account] for account in left_out)
    stale = sum(left_out.values()) + repeated_of_these
    superseded = survey.dropped_by_account.total() - repeated_of_these
    if survey.has_possible_duplicates:
        superseded += staging.drop_superseded(db, entity)
    superseded += _drop_outdated(entity, origin, raw_id, was_loaded=again, db=db)
    return StagedBatch(again, survey.rows, survey.has_removals, stale, superseded)


def merge_staged(
    entity: Entity, typed_batch: TypedBatch, staged_batch: StagedBatch, *, rejected: int, db: Connection
) -> MergeResult:
    """Merge `incoming` into the core table, and move the cursors if a feed's batch was never loaded before."""
    raw_id = typed_batch.raw_batch.raw_id
    origin = entity.find_source(typed_batch.raw_batch.source)
    merged = _merge_rows(entity, staged_batch.rows, raw_id, db=db)
    removed = {"removed": 0, "superseded": 0}
    ended: list[tuple[Any, ...]] = []
    if isinstance(origin, Feed):
        if staged_batch.has_removals:
            removed = _execute_and_count(db, statement(f"entities/{entity.name}", "remove"), raw_id)
        ended = _close_unreported_rows(entity, typed_batch, origin, db=db)
        if not staged_batch.was_loaded:
            cursors.advance(db, feed=origin.name, raw_id=raw_id)
    elif isinstance(origin, Window) and entity.feed_name and (merged["inserted"] or merged["updated"]):
        cursors.record_observation(db, feed=entity.feed_name)
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
    return MergeResult(counts, ended)


def _drop_outdated(entity: Entity, origin: Origin, raw_id: int, *, was_loaded: bool, db: Connection) -> int:
    """Drop what later batches have told otherwise, and return how many rows those were."""
    dropped = staging.drop_overwritten(db, entity, raw_id=raw_id) if was_loaded else 0
    match origin:
        case Window() if entity.feed_name and was_loaded:
            dropped += staging.drop_older_than_feed_on_replay(db, entity, feed=entity.feed_name, raw_id=raw_id)
        case Window() if entity.feed_name:
            dropped += staging.drop_older_than_feed(db, feed=entity.feed_name)
        case Snapshot() if not was_loaded:
            dropped += staging.drop_older_than_snapshot(db, entity, raw_id=raw_id)
    return dropped


def _apply_feed_order(
    feed: Feed, raw_id: int, duplicate_filter: DuplicateFilter, *, was_loaded: bool, db: Connection
) -> dict[int, int]:
    """Give a batch its place in the feed, and return how many rows there are of each account that has none."""
    if was_loaded:
        left_out = cursors.drop_recorded_stale_accounts(db, raw_id=raw_id)
        cursors.reapply_clamped_timestamps(db, raw_id=raw_id)
        return left_out
    left_out = cursors.drop_stale_accounts(db, feed=feed.name, raw_id=raw_id)
    cursors.clamp_timestamps(
        db, feed=feed.name, raw_id=raw_id, earliest_observed_at=duplicate_filter.earliest_observed_at
    )
    return left_out


def _close_unreported_rows(
    entity: Entity, typed_batch: TypedBatch, feed: Feed, *, db: Connection
) -> list[tuple[Any, ...]]:
    """End rows whose end no record tells, as far as the entity knows such rows, and return their keys."""
    known = statements(f"entities/{entity.name}")
    wanted = ("close_pending", "close_absent") if typed_batch.has_full_read() else ("close_pending",)
    values = {"raw_id": typed_batch.raw_batch.raw_id, "feed": feed.name, "version": entity.version}
    keys: list[tuple[Any, ...]] = []
    for name in (name for name in wanted if name in known):
        ended = db.execute(known[name], values).fetchall()
        keys += ended
        if ended:
            log.info(
                "%s: raw batch %d: %d rows ended (%s)", entity.name, typed_batch.raw_batch.raw_id, len(ended), name
            )
    return keys


def _merge_rows(entity: Entity, rows: int, raw_id: int, *, db: Connection) -> dict[str, int]:
    """Merge what differs from the rows that are there, and return its counts.

    Where an entity's SQL file knows both ways to find these, they are read at once if few for a batch of so many rows.
    """
    file = statements(f"entities/{entity.name}")
    with staging.prefer_index_lookup(db):
        if "existing_of_accounts" not in file:
            return _execute_and_count(db, file["merge"], raw_id)
        if not staging.has_few_existing_rows(db, entity, limit=MAX_SCANNED_ROWS_PER_RECORD * rows):
            return _execute_and_count(db, file["merge"].substitute(existing=file["existing_by_key"]), raw_id)
        with staging.prefer_hash_join(db):
            return _execute_and_count(db, file["merge"].substitute(existing=file["existing_of_accounts"]), raw_id)


def _execute_and_count(db: Connection, query: SQL | bytes, raw_id: int) -> dict[str, int]:
    with db.cursor(row_factory=dict_row) as cursor:
        (counts,) = cursor.execute(query, {"raw_id": raw_id}).fetchall()
    return counts
