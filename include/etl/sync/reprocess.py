"""Merge a batch that was loaded before, and bring the rows that it wrote up to date by what was loaded since.

A row that was missing, or that a new declaration reads otherwise, is written as it was in that batch. What later
batches said of it was lost on a row that was not there, or not read so; it is said again.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow.compute as pc
from upath import UPath

from etl.db.connection import Warehouse
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.sync import merge
from etl.sync.merge import Prepared
from etl.sync.store import before_image, loads, raw_batches
from etl.sync.store.loads import Counts
from etl.sync.store.typed_batches import TypedBatch
from etl.sync.transform import transform


def apply(
    entity: Entity,
    typed: TypedBatch,
    prepared: Prepared,
    *,
    rejected: int,
    warehouse: Warehouse,
    root: UPath,
    besides: Collection[int] = (),
) -> Counts:
    """Merge `incoming`, catch up, and return what became of the batch's own records.

    `before.begin` must have been called in this transaction.

    Parameters
    ----------
    root
        The raw root; the typed batch may be elsewhere.
    besides
        Later batches that will be merged again anyway.
    """
    raw_id = typed.batch.raw_id
    before_image.remember(warehouse, entity)
    applied = merge.apply(entity, typed, prepared, rejected=rejected, warehouse=warehouse)
    before_image.remember_ended(warehouse, entity, applied.ended)
    if before_image.find_rewritten(warehouse, entity, raw_id=raw_id):
        accounts = before_image.accounts_rewritten(warehouse, entity)
        # Asked for only now: what is loaded from here on waits for the accounts that this batch has locked.
        for later in loads.later(warehouse, raw_id=raw_id, entity=entity.name):
            if later not in besides:
                _catch_up(entity, later, accounts, warehouse=warehouse, root=root, typed_root=typed.root)
    return applied.counts


def _catch_up(
    entity: Entity, raw_id: int, accounts: set[int] | None, *, warehouse: Warehouse, root: UPath, typed_root: UPath
) -> None:
    """Merge what a later batch says of the rows that were written."""
    batch = raw_batches.find(warehouse, raw_id)
    typed = TypedBatch(root, entity, batch)
    if not typed.exists():
        typed = TypedBatch(typed_root, entity, batch)
        transform(entity, raw_id, warehouse=warehouse, root=root, typed_root=typed_root)
    if accounts is not None and accounts.isdisjoint(_accounts(typed)):
        return
    prepared = merge.prepare(entity, typed, warehouse=warehouse)
    if entity.feed and typed.rereads():
        # What a feed does not tell, when it is read from its beginning, counts as well.
        before_image.remember(warehouse, entity)
    else:
        before_image.keep_rewritten(warehouse, entity)
    applied = merge.apply(entity, typed, prepared, rejected=0, warehouse=warehouse)
    before_image.remember_ended(warehouse, entity, applied.ended)


def _accounts(typed: TypedBatch) -> set[int]:
    return {account for moves in typed.moves() for account in pc.unique(moves[PROVIDER_ACCOUNT]).to_pylist()}
