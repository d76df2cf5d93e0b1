"""Reprocessing of a batch that was loaded before: merge it, then merge again the later batches that touch its rows.

Reprocessing may restore a row to the state of this old batch, if the row was missing or the declaration has changed.
Later batches that touched the row are then merged again, in order, so that it ends in its current state.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

import pyarrow.compute as pc
from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.source import Snapshot
from etl.sync.merging import merge, stage
from etl.sync.merging.stage import StagedBatch
from etl.sync.store import before_image, loads, raw_batches
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch
from etl.sync.transform import transform

log = logging.getLogger(__name__)


def reprocess(
    entity: Entity,
    typed_batch: TypedBatch,
    staged_batch: StagedBatch,
    *,
    db: Connection,
    root: UPath,
    except_batches: Collection[int] = (),
) -> LoadCounts:
    """Merge `incoming`, then the later batches, and return the counts of the batch's own records.

    `before_image.create` must have been called in this transaction.

    Parameters
    ----------
    root
        The raw root; the typed batch may be under another one.
    except_batches
        Later batches that the caller merges again anyway.
    """
    raw_id = typed_batch.raw_batch.raw_id
    before_image.capture(db, entity)
    result = merge.merge_staged(entity, typed_batch, staged_batch, db=db)
    before_image.capture_closed(db, entity, result.closed_keys)
    if before_image.collect_changed_keys(db, entity, raw_id=raw_id):
        merge_later_batches(
            entity, raw_id, db=db, root=root, typed_root=typed_batch.root, except_batches=except_batches
        )
    return result.counts


def merge_later_batches(
    entity: Entity,
    raw_id: int,
    *,
    db: Connection,
    root: UPath,
    typed_root: UPath,
    except_batches: Collection[int] = (),
) -> None:
    """Merge the batches after `raw_id` again for the rows in `changed_keys`.

    The caller has locked the accounts of these rows, so that loads which begin from here on wait.

    Parameters
    ----------
    typed_root
        Root of typed batches that do not exist under the raw root.
    except_batches
        Later batches that the caller merges again anyway.
    """
    account_ids = before_image.changed_accounts(db, entity)
    for later_id in loads.find_later(db, raw_id=raw_id, entity=entity.name, provider_account_ids=account_ids):
        if later_id not in except_batches:
            _merge_later_batch(entity, later_id, account_ids, db=db, root=root, typed_root=typed_root)


def _merge_later_batch(
    entity: Entity, raw_id: int, account_ids: set[int] | None, *, db: Connection, root: UPath, typed_root: UPath
) -> None:
    """Merge the records of a later batch for the rows in `changed_keys`.

    A batch that was purged, and is not typed in this version, is skipped with a warning: nothing can read it any more.

    Parameters
    ----------
    account_ids
        Provider accounts of these rows; None if the entity's rows belong to none.
    """
    batch = raw_batches.find(db, raw_id)
    typed = TypedBatch(root, entity, batch)
    if not typed.exists():
        if batch.purged_at is not None:
            log.warning(
                "%s: raw batch %d was purged: rows that it changed stay as the batches before and after it have them",
                entity.name,
                raw_id,
            )
            return
        typed = TypedBatch(typed_root, entity, batch)
        transform(entity, raw_id, db=db, root=root, typed_root=typed_root)
    if account_ids is not None and account_ids.isdisjoint(_account_ids(typed)):
        return
    # A snapshot or a full read closes the rows that it lacks, so all of its records must stay in `incoming`.
    is_snapshot = isinstance(entity.find_source(batch.source), Snapshot)
    is_complete = is_snapshot or (entity.feed_name is not None and typed.has_full_read())
    staged = stage.stage_loaded(entity, typed, is_complete=is_complete, db=db)
    if not is_complete:
        before_image.keep_changed_keys(db, entity)
    before_image.capture(db, entity)
    result = merge.merge_staged(entity, typed, staged, db=db)
    before_image.capture_closed(db, entity, result.closed_keys)


def _account_ids(typed_batch: TypedBatch) -> set[int]:
    return {
        account for moves in typed_batch.cursor_moves() for account in pc.unique(moves[PROVIDER_ACCOUNT]).to_pylist()
    }
