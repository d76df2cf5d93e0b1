"""Merge a batch that was loaded before, and bring the rows that it wrote up to date by what was loaded since.

A row that was missing, or that a new declaration reads otherwise, is written as it was in that batch. What later
batches said of it was lost on a row that was not there, or not read so; it is said again.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow.compute as pc
from upath import UPath

from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.steps import merge
from etl.steps.merge import Prepared
from etl.steps.transform import transform
from etl.stores import before, loads, raw
from etl.stores.loads import Counts
from etl.stores.typed import TypedBatch
from etl.stores.warehouse import Warehouse


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
    before.remember(warehouse, entity)
    applied = merge.apply(entity, typed, prepared, rejected=rejected, warehouse=warehouse)
    before.remember_ended(warehouse, entity, applied.ended)
    if before.find_rewritten(warehouse, entity, raw_id=raw_id):
        accounts = before.accounts_rewritten(warehouse, entity)
        # Asked for only now: what is loaded from here on waits for the accounts that this batch has locked.
        for later in loads.later(warehouse, raw_id=raw_id, entity=entity.name):
            if later not in besides:
                _catch_up(entity, later, accounts, warehouse=warehouse, root=root, typed_root=typed.root)
    return applied.counts


def _catch_up(
    entity: Entity, raw_id: int, accounts: set[int] | None, *, warehouse: Warehouse, root: UPath, typed_root: UPath
) -> None:
    """Merge what a later batch says of the rows that were written."""
    batch = raw.find(warehouse, raw_id)
    typed = TypedBatch(root, entity, batch)
    if not typed.exists():
        typed = TypedBatch(typed_root, entity, batch)
        transform(entity, raw_id, warehouse=warehouse, root=root, typed_root=typed_root)
    if accounts is not None and accounts.isdisjoint(_accounts(typed)):
        return
    prepared = merge.prepare(entity, typed, warehouse=warehouse)
    if entity.feed and typed.rereads():
        # What a feed does not tell, when it is read from its beginning, counts as well.
        before.remember(warehouse, entity)
    else:
        before.keep_rewritten(warehouse, entity)
    applied = merge.apply(entity, typed, prepared, rejected=0, warehouse=warehouse)
    before.remember_ended(warehouse, entity, applied.ended)


def _accounts(typed: TypedBatch) -> set[int]:
    return {account for moves in typed.moves() for account in pc.unique(moves[PROVIDER_ACCOUNT]).to_pylist()}
