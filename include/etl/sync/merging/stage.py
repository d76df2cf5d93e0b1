"""Staging of a typed batch in temporary tables before it is merged: which logins and records of it apply.

The first load of a login's records moves its cursor. On a second load no cursor moves, and every record keeps the
effective time of its first load, so that newer data is not overwritten.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

import pyarrow as pa
import pyarrow.compute as pc

from etl.db.connection import Connection
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.source import Feed, RawOf, Window
from etl.sync.history import after_merge
from etl.sync.merging import new_logins, outdated
from etl.sync.merging.new_logins import CopiedLogins
from etl.sync.merging.quarantine import exceeds
from etl.sync.records.duplicates import DuplicateFilter
from etl.sync.records.filters import clamp_observation, without_logins
from etl.sync.store import cursors, loads, quarantines, rejects, staging
from etl.sync.store.rejects import KnownLater
from etl.sync.store.typed_batches import CursorMove, TypedBatch

log = logging.getLogger(__name__)


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
    inserted
        How many of the rows are in the core table already, as nothing was known of their logins.
    is_copied
        Whether these are all its rows, so that none is staged, and none of its records was rejected.
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
    inserted: int
    is_copied: bool
    has_removals: bool
    superseded: int
    stale: int
    rejected: int
    quarantined: int
    left_out: Collection[int]
    known_later: KnownLater


def stage(
    entity: Entity, typed_batch: TypedBatch, *, copies_new_logins: bool = False, db: Connection
) -> Iterator[StagedBatch]:
    """Stage a batch that is loaded or replayed, and yield it; each part must be merged before the next is staged.

    On the first load, logins that another load overtook are left out as stale, and those with too many rejects are
    quarantined. A later load leaves out the same logins. Those that were quarantined, and no longer have too
    many rejects, are a second part: they are loaded for the first time. A login that was loaded before is loaded again,
    however many of its records are rejected now: its cursor has moved already, so that nothing would wait for it.

    Parameters
    ----------
    copies_new_logins
        Whether the first load may copy the rows of new logins into the core table at once, so that they are not staged.
    """
    raw_id = typed_batch.raw_batch.raw_id
    if not loads.was_loaded(db, raw_id=raw_id, entity=entity.name):
        yield stage_first_load(entity, typed_batch, copies_new_logins=copies_new_logins, db=db)
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
    entity: Entity,
    typed_batch: TypedBatch,
    *,
    only: Collection[int] | None = None,
    copies_new_logins: bool = False,
    db: Connection,
) -> StagedBatch:
    """Stage the logins of a batch that were not loaded before; other loads of them wait for the commit.

    Parameters
    ----------
    only
        Stage only these logins, which were quarantined, however many of their records are rejected; None for all.
    copies_new_logins
        As in `stage`.
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
    staged_batch = _fill(
        entity, typed_batch, moves, left_out, was_loaded=False, copies_new_logins=copies_new_logins, db=db
    )
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
    copies_new_logins: bool = False,
    db: Connection,
) -> StagedBatch:
    """Fill `incoming` with the rows of the logins that are not left out, apart from those that are outdated.

    Where this is allowed, the rows of logins of which nothing is known yet are copied into the core table instead.
    """
    raw_batch = typed_batch.raw_batch
    origin = entity.find_source(raw_batch.source)
    copied = new_logins.copy(entity, typed_batch, origin, db=db) if copies_new_logins else CopiedLogins()
    elsewhere = {*left_out, *copied.logins}
    are_all_elsewhere = elsewhere.issuperset(moves[PROVIDER_ACCOUNT].to_pylist())
    is_copied = bool(copied.logins) and are_all_elsewhere and not left_out
    rows = clamp_observation(
        () if are_all_elsewhere else without_logins(typed_batch.rows(), elsewhere),
        earliest=raw_batch.opened_at,
        latest=raw_batch.sealed_at,
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
    if judges_rejects and not is_copied:
        _judge_rejects(typed_batch, moves, left_out, known_later, was_loaded=was_loaded, db=db)
    if isinstance(origin, Window) and isinstance(entity.source, Feed) and entity.source.removals:
        superseded += outdated.drop_unconfirmed(entity, db=db)
    stale, quarantined = (_select(moves, left_out, reason) for reason in (_STALE, _QUARANTINED))
    counted = _without(moves, [login for login, reason in left_out.items() if reason is _OTHER_PART])
    return StagedBatch(
        was_loaded,
        duplicate_filter.rows + copied.rows,
        copied.rows,
        is_copied,
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
