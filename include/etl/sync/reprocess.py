"""Merge a batch that was loaded before, and bring the rows that it wrote up to date by what was loaded since.

A row that was missing, or that a new declaration reads otherwise, is written as it was in that batch. What later
batches said of it was lost on a row that was not there, or not read so; it is said again.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow.compute as pc
from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.sync import merge
from etl.sync.merge import StagedBatch
from etl.sync.store import before_image, loads, raw_batches
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch
from etl.sync.transform import transform


def reprocess(
    entity: Entity,
    typed_batch: TypedBatch,
    staged_batch: StagedBatch,
    *,
    rejected: int,
    db: Connection,
    root: UPath,
    except_batches: Collection[int] = (),
) -> LoadCounts:
    """Merge `incoming`, catch up, and return what became of the batch's own records.

    `before.begin` must have been called in this transaction.

    Parameters
    ----------
    root
        The raw root; the typed batch may be elsewhere.
    except_batches
        Later batches that will be merged again anyway.
    """
    raw_id = typed_batch.raw_batch.raw_id
    before_image.capture(db, entity)
    applied = merge.merge_staged(entity, typed_batch, staged_batch, rejected=rejected, db=db)
    before_image.capture_closed(db, entity, applied.closed_keys)
    if before_image.collect_changed_keys(db, entity, raw_id=raw_id):
        accounts = before_image.changed_accounts(db, entity)
        # Asked for only now: what is loaded from here on waits for the accounts that this batch has locked.
        for later in loads.find_later(db, raw_id=raw_id, entity=entity.name):
            if later not in except_batches:
                _merge_later_batch(entity, later, accounts, db=db, root=root, typed_root=typed_batch.root)
    return applied.counts


def _merge_later_batch(
    entity: Entity, raw_id: int, account_ids: set[int] | None, *, db: Connection, root: UPath, typed_root: UPath
) -> None:
    """Merge what a later batch says of the rows that were written."""
    batch = raw_batches.find(db, raw_id)
    typed = TypedBatch(root, entity, batch)
    if not typed.exists():
        typed = TypedBatch(typed_root, entity, batch)
        transform(entity, raw_id, db=db, root=root, typed_root=typed_root)
    if account_ids is not None and account_ids.isdisjoint(_account_ids(typed)):
        return
    prepared = merge.stage(entity, typed, db=db)
    if entity.feed_name and typed.has_full_read():
        # What a feed does not tell, when it is read from its beginning, counts as well.
        before_image.capture(db, entity)
    else:
        before_image.keep_changed_keys(db, entity)
    applied = merge.merge_staged(entity, typed, prepared, rejected=0, db=db)
    before_image.capture_closed(db, entity, applied.closed_keys)


def _account_ids(typed_batch: TypedBatch) -> set[int]:
    return {
        account for moves in typed_batch.cursor_moves() for account in pc.unique(moves[PROVIDER_ACCOUNT]).to_pylist()
    }
