"""Merging of a typed batch into the core table, shared by load and replay.

The first load of a login's records moves its cursor. On a second load no cursor moves, and every record keeps the
effective time of its first load, so that newer data is not overwritten.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.source import Feed, RawOf, Recent, Snapshot, Window
from etl.sync import outdated, recent
from etl.sync.history import after_merge
from etl.sync.outdated import Origin
from etl.sync.quarantine import exceeds
from etl.sync.records.duplicates import DuplicateFilter
from etl.sync.records.filters import clamp_observation, without_logins
from etl.sync.store import cursors, loads, quarantines, reconciliations, rejects, staging
from etl.sync.store.loads import LoadCounts
from etl.sync.store.rejects import KnownLater
from etl.sync.store.typed_batches import CursorMove, TypedBatch

log = logging.getLogger(__name__)

MAX_SCANNED_ROWS_PER_RECORD = 2
"""Existing rows per record of a batch up to which all rows of its accounts are read, instead of looked up by key."""


class _Reason(Enum):
    """Why a login of a batch is not staged; the first two are outcomes in etl.left_out."""

    STALE = "stale"
    QUARANTINED = "quarantined"
    OTHER_PART = "other part"
    """It is staged, and counted, in another part of the same load."""


_STALE, _QUARANTINED, _OTHER_PART = _Reason


@dataclass(frozen=True)
class StagedBatch:
    """The logins of a batch that apply, or some of them, in the staging tables and ready to be merged.

    Parameters
    ----------
    was_loaded
        Whether these logins were loaded before, by any version of the entity.
    rows
        All their rows.
    has_removals
        Whether any of them is a removal.
    superseded
        How many of the rows were already dropped as superseded.
    stale
        Rows of the logins that another load overtook; they are not staged.
    rejected
        Rejected records, apart from those of quarantined logins.
    quarantined
        Records of quarantined logins; they are not staged.
    left_out
        The logins that are not staged.
    known_later
        What was loaded that may be later than these logins.
    """

    was_loaded: bool
    rows: int
    has_removals: bool
    superseded: int
    stale: int
    rejected: int
    quarantined: int
    left_out: Collection[int]
    known_later: KnownLater


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


def stage(entity: Entity, typed_batch: TypedBatch, *, db: Connection) -> Iterator[StagedBatch]:
    """Stage a batch that is loaded or replayed, and yield it; each part must be merged before the next is staged.

    On the first load, logins that another load overtook are left out as stale, and those with too many rejects are
    quarantined. A later load leaves out the same logins. Those that were quarantined, and no longer have too
    many rejects, are a second part: they are loaded for the first time. A login that was loaded before is loaded again,
    however many of its records are rejected now: its cursor has moved already, so that nothing would wait for it.
    """
    raw_id = typed_batch.raw_batch.raw_id
    if not loads.was_loaded(db, raw_id=raw_id, entity=entity.name):
        yield stage_first_load(entity, typed_batch, db=db)
        return
    moves = typed_batch.read_cursor_moves()
    left_out = _find_left_out(entity, raw_id, db=db)
    excessive = _find_excessive(entity, moves)
    released = {login for login, reason in left_out.items() if reason is _QUARANTINED} - excessive.keys()
    left_out |= dict.fromkeys(released, _OTHER_PART)
    yield _stage_again(entity, typed_batch, moves, left_out, db=db)
    if released:
        yield stage_first_load(entity, typed_batch, db=db, only=released)


def stage_first_load(
    entity: Entity, typed_batch: TypedBatch, *, db: Connection, only: Collection[int] | None = None
) -> StagedBatch:
    """Stage the logins of a batch that were not loaded before; other loads of them wait for the commit.

    Parameters
    ----------
    only
        Stage only these logins, which were quarantined, however many of their records are rejected; None for all.
    """
    raw_id, source = typed_batch.raw_batch.raw_id, typed_batch.raw_batch.source
    moves = typed_batch.read_cursor_moves()
    if isinstance(entity.source, RawOf):
        return _fill(entity, typed_batch, moves, {}, was_loaded=False, db=db)
    logins = moves[PROVIDER_ACCOUNT].to_pylist() if only is not None else ()
    left_out = {login: _OTHER_PART for login in logins if login not in (only or ())}
    _lock(entity, _without(moves, left_out), db=db)
    if source == entity.feed_name:
        left_out |= dict.fromkeys(cursors.drop_stale(db, feed=source, raw_id=raw_id), _STALE)
    if only is None:
        excessive = _find_excessive(entity, _without(moves, left_out))
        left_out |= dict.fromkeys(excessive, _QUARANTINED)
        _quarantine(entity, raw_id, excessive, db=db)
    else:
        quarantines.forget(db, only, raw_id=raw_id)
    staged_batch = _fill(entity, typed_batch, moves, left_out, was_loaded=False, db=db)
    # Only now: of a snapshot, the logins of which a later one was loaded are no longer staged.
    quarantines.release(db, entity=entity.name, source=source, own_source=entity.source.name)
    return staged_batch


def stage_loaded(entity: Entity, typed_batch: TypedBatch, *, is_complete: bool, db: Connection) -> StagedBatch:
    """Stage the logins of a batch that were loaded before, however many of their records are rejected now.

    Parameters
    ----------
    is_complete
        Whether all of their records are going to be merged. Otherwise their rejects stay as they are: one whose record
        passes now must not be closed before that record is merged.
    """
    left_out = _find_left_out(entity, typed_batch.raw_batch.raw_id, db=db)
    moves = typed_batch.read_cursor_moves()
    return _stage_again(entity, typed_batch, moves, left_out, judges_rejects=is_complete, db=db)


def merge_staged(entity: Entity, typed_batch: TypedBatch, staged_batch: StagedBatch, *, db: Connection) -> MergeResult:
    """Merge `incoming` into the core table; on the first load of a feed's batch, move the cursors."""
    raw_id = typed_batch.raw_batch.raw_id
    origin = entity.find_source(typed_batch.raw_batch.source)
    merged = _merge_rows(entity, staged_batch.rows, raw_id, db=db)
    removed = {"removed": 0, "superseded": 0}
    if staged_batch.has_removals:
        removed = _run_and_count(db, EntityStatements(entity)["remove"], raw_id)
    closed_keys = _close_unreported_rows(entity, typed_batch, origin, staged_batch.known_later, db=db)
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


def _stage_again(
    entity: Entity,
    typed_batch: TypedBatch,
    moves: pa.Table,
    left_out: Mapping[int, _Reason],
    *,
    judges_rejects: bool = True,
    db: Connection,
) -> StagedBatch:
    if not isinstance(entity.source, RawOf):
        _lock(entity, _without(moves, left_out), db=db)
    return _fill(entity, typed_batch, moves, left_out, was_loaded=True, judges_rejects=judges_rejects, db=db)


def _fill(
    entity: Entity,
    typed_batch: TypedBatch,
    moves: pa.Table,
    left_out: Mapping[int, _Reason],
    *,
    was_loaded: bool,
    judges_rejects: bool = True,
    db: Connection,
) -> StagedBatch:
    """Fill `incoming` with the rows of the logins that are not left out, apart from those that are outdated."""
    raw_batch = typed_batch.raw_batch
    origin = entity.find_source(raw_batch.source)
    rows = clamp_observation(
        without_logins(typed_batch.rows(), left_out), earliest=raw_batch.opened_at, latest=raw_batch.sealed_at
    )
    duplicate_filter = DuplicateFilter(entity)
    staging.fill_rows(db, entity, duplicate_filter.drop_duplicates(rows))
    if isinstance(origin, RawOf):
        # It has no logins to lock, and row locks alone would cost WAL: take one advisory lock for the entity.
        loads.lock_entity(db, entity=entity.name)
    elif isinstance(origin, Feed):
        _apply_feed_order(origin, raw_batch.raw_id, duplicate_filter, was_loaded=was_loaded, db=db)
    superseded = duplicate_filter.dropped
    if duplicate_filter.has_possible_duplicates:
        superseded += staging.drop_superseded(db, entity)
    known_later = outdated.find_known_later(entity, origin, moves, raw_batch.raw_id, db=db)
    superseded += outdated.drop(entity, origin, raw_batch.raw_id, known_later, was_loaded=was_loaded, db=db)
    if judges_rejects:
        _judge_rejects(typed_batch, moves, left_out, known_later, was_loaded=was_loaded, db=db)
    if isinstance(origin, Window) and isinstance(entity.source, Feed) and entity.source.removals:
        superseded += outdated.drop_unconfirmed(entity, db=db)
    stale, quarantined = (_select(moves, left_out, reason) for reason in (_STALE, _QUARANTINED))
    counted = _without(moves, [login for login, reason in left_out.items() if reason is _OTHER_PART])
    return StagedBatch(
        was_loaded,
        duplicate_filter.rows,
        duplicate_filter.has_removals,
        superseded,
        stale=_sum(stale, "read") - _sum(stale, "rejected"),
        rejected=_sum(counted, "rejected") - _sum(quarantined, "rejected"),
        quarantined=_sum(quarantined, "read"),
        left_out=left_out.keys(),
        known_later=known_later,
    )


def _find_excessive(entity: Entity, moves: pa.Table) -> dict[int, CursorMove]:
    """Return the logins that have too many rejects; whoever downloaded the records of another entity judges them."""
    if isinstance(entity.source, RawOf):
        return {}
    faulty = [CursorMove(**move) for move in moves.filter(pc.greater(moves["rejected"], 0)).to_pylist()]
    return {
        move.provider_account_id: move for move in faulty if exceeds(entity, read=move.read, rejected=move.rejected)
    }


def _find_left_out(entity: Entity, raw_id: int, *, db: Connection) -> dict[int, _Reason]:
    """Return the logins that the first load of a batch left out; an entity that others download leaves out none."""
    if isinstance(entity.source, RawOf):
        return {}
    return {login: _Reason(outcome) for login, outcome in cursors.left_out(db, raw_id=raw_id).items()}


def _lock(entity: Entity, moves: pa.Table, *, db: Connection) -> None:
    """Exclude other loads of the same logins, or of the whole entity where no cursor of a login can be locked."""
    if entity.feed_name is None or PROVIDER_ACCOUNT not in entity.key:
        loads.lock_entity(db, entity=entity.name)
    staging.fill_cursor_moves(db, moves)
    after_merge.lock_newly_linked(db, entity)
    if entity.feed_name:
        cursors.lock(db, feed=entity.feed_name)


def _quarantine(entity: Entity, raw_id: int, excessive: Mapping[int, CursorMove], *, db: Connection) -> None:
    if excessive:
        cursors.drop(db, excessive)
        quarantines.record(db, list(excessive.values()), raw_id=raw_id, entity=entity.name)
        log.warning("%s: raw batch %d: quarantined provider accounts %s", entity.name, raw_id, sorted(excessive))


def _select(moves: pa.Table, left_out: Mapping[int, _Reason], reason: _Reason) -> pa.Table:
    logins = [login for login, other in left_out.items() if other is reason]
    return moves.filter(pc.is_in(moves[PROVIDER_ACCOUNT], pa.array(logins, pa.int64())))


def _without(moves: pa.Table, logins: Collection[int]) -> pa.Table:
    if not logins:
        return moves
    return moves.filter(pc.invert(pc.is_in(moves[PROVIDER_ACCOUNT], pa.array(logins, pa.int64()))))


def _sum(moves: pa.Table, column: str) -> int:
    return int(pc.sum(moves[column]).as_py() or 0)


def _judge_rejects(
    typed_batch: TypedBatch,
    moves: pa.Table,
    left_out: Mapping[int, _Reason],
    known_later: KnownLater,
    *,
    was_loaded: bool,
    db: Connection,
) -> None:
    """Store the rejects of the logins that this batch speaks for; a login that is stale in it has none of it."""
    stale = [login for login, reason in left_out.items() if reason is _STALE]
    others = [login for login, reason in left_out.items() if reason is _OTHER_PART]
    judged = _without(moves, [*stale, *others])[PROVIDER_ACCOUNT].to_pylist()
    rejects.replace(db, typed_batch, judged, known_later=None if was_loaded else known_later)
    if stale:
        rejects.close_stale(db, typed_batch, stale)


def _apply_feed_order(
    feed: Feed, raw_id: int, duplicate_filter: DuplicateFilter, *, was_loaded: bool, db: Connection
) -> None:
    """Correct the times of observation to the order of the feed."""
    if was_loaded:
        cursors.reapply_clamped_timestamps(db, raw_id=raw_id)
        return
    cursors.clamp_timestamps(
        db, feed=feed.name, raw_id=raw_id, earliest_observed_at=duplicate_filter.earliest_observed_at
    )


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
