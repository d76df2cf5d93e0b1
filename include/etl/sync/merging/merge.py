"""Merging of a staged batch into the core table, shared by load and replay."""

import logging
from dataclasses import dataclass
from typing import Any

from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import Entity
from etl.declare.source import Feed, RawOf, Recent, Snapshot, Window
from etl.sync import recent
from etl.sync.history import after_merge
from etl.sync.merging.outdated import Origin
from etl.sync.merging.stage import StagedBatch
from etl.sync.store import cursors, reconciliations, rejects, staging
from etl.sync.store.loads import LoadCounts
from etl.sync.store.rejects import KnownLater
from etl.sync.store.typed_batches import TypedBatch

log = logging.getLogger(__name__)

MAX_SCANNED_ROWS_PER_RECORD = 2
"""Existing rows per record of a batch up to which all rows of its accounts are read, instead of looked up by key."""


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


def merge_staged(entity: Entity, typed_batch: TypedBatch, staged_batch: StagedBatch, *, db: Connection) -> MergeResult:
    """Merge `incoming` into the core table; on the first load of a feed's batch, move the cursors."""
    raw_id = typed_batch.raw_batch.raw_id
    origin = entity.find_source(typed_batch.raw_batch.source)
    merged, removed = {"inserted": 0, "updated": 0, "superseded": 0}, {"removed": 0, "superseded": 0}
    closed_keys: list[tuple[Any, ...]] = []
    if not staged_batch.is_copied:
        merged = _merge_rows(entity, staged_batch.rows - staged_batch.inserted, raw_id, db=db)
        if staged_batch.has_removals:
            removed = _run_and_count(db, EntityStatements(entity)["remove"], raw_id)
        closed_keys = _close_unreported_rows(entity, typed_batch, origin, staged_batch.known_later, db=db)
    merged["inserted"] += staged_batch.inserted
    if isinstance(origin, Feed) and not staged_batch.was_loaded:
        after_merge.reread_untold(db, entity)
        cursors.advance(db, feed=origin.name, raw_id=raw_id)
    elif isinstance(origin, Window) and entity.feed_name and (merged["inserted"] or merged["updated"] or closed_keys):
        cursors.record_observation(db, feed=entity.feed_name)
    elif isinstance(origin, Recent):
        closed_keys += recent.end_absent(db, entity, origin, raw_id=raw_id)
    elif isinstance(origin, Snapshot):
        closed_keys += after_merge.close_missing(db, entity, raw_id=raw_id)
        after_merge.replace_linked_again(db, entity)
    if entity.feed_name:
        closed_keys += after_merge.end_replaced(db, entity)
        after_merge.carry_corrections(db, entity)
    changed = merged["inserted"] + merged["updated"] + removed["removed"]
    superseded = staged_batch.superseded + merged["superseded"] + removed["superseded"]
    not_staged = staged_batch.stale + staged_batch.rejected + staged_batch.quarantined
    counts = LoadCounts(
        read=staged_batch.rows + not_staged,
        inserted=merged["inserted"],
        updated=merged["updated"],
        unchanged=staged_batch.rows - superseded - changed,
        removed=removed["removed"],
        superseded=superseded,
        stale=staged_batch.stale,
        rejected=staged_batch.rejected,
        quarantined=staged_batch.quarantined,
    )
    return MergeResult(counts, closed_keys)


def _close_unreported_rows(
    entity: Entity, typed_batch: TypedBatch, origin: Origin, known_later: KnownLater, *, db: Connection
) -> list[tuple[Any, ...]]:
    """Close rows whose end no record reports, and rejects that a record ends; return the keys of the closed rows.

    Which rows these are is said by the statements that the entity has.
    """
    file = EntityStatements(entity)
    raw_id = typed_batch.raw_batch.raw_id
    keys_by_statement: dict[str, list[tuple[Any, ...]]] = {}
    if "close_pending" in file and not isinstance(origin, Snapshot):
        keys_by_statement["close_pending"] = file["close_pending"].rows(db, {"raw_id": raw_id})
    rejects.close_loaded(db, entity, raw_id=raw_id)
    if "close_held" in file:
        keys_by_statement["close_held"] = file["close_held"].rows(db, {"raw_id": raw_id})
    if "mark_outdated" in file and not isinstance(origin, RawOf):
        rejects.mark_outdated(db, entity, file["mark_outdated"], raw_id=raw_id, known_later=known_later)
    if "close_absent" in file and isinstance(origin, Feed) and typed_batch.has_full_read():
        keys_by_statement["close_absent"] = reconciliations.close_absent(db, entity, file, raw_id=raw_id)
    for name, keys in keys_by_statement.items():
        if keys:
            log.info("%s: raw batch %d: %d rows closed (%s)", entity.name, raw_id, len(keys), name)
    return [key for keys in keys_by_statement.values() for key in keys]


def _merge_rows(entity: Entity, rows: int, raw_id: int, *, db: Connection) -> dict[str, int]:
    """Merge the records that differ from existing rows, and return their counts.

    Where existing rows can be found by key or by account, all rows of the batch's accounts are read if they are few
    relative to the rows of the batch.
    """
    file = EntityStatements(entity)
    with staging.prefer_index_lookup(db):
        if "before_merge" in file:
            file["before_merge"].run(db)
        if "existing_of_accounts" not in file:
            return _run_and_count(db, file["merge"], raw_id)
        if not staging.has_few_existing_rows(db, entity, limit=MAX_SCANNED_ROWS_PER_RECORD * rows):
            return _run_and_count(db, file["merge"].substitute(existing=file["existing_by_key"]), raw_id)
        with staging.prefer_hash_join(db):
            return _run_and_count(db, file["merge"].substitute(existing=file["existing_of_accounts"]), raw_id)


def _run_and_count(db: Connection, query: Statement, raw_id: int) -> dict[str, int]:
    (counts,) = query.dicts(db, {"raw_id": raw_id})
    return counts
