"""Replay: type a raw batch again, and merge what differs.

No cursor moves, and nothing that came after the batch is undone. Only a feed's batch that was never loaded is loaded
as usual, since nobody has read on from it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from psycopg.errors import DeadlockDetected
from upath import UPath

from etl.declare.entity import Entity
from etl.errors import ReplayInterrupted
from etl.steps import merge
from etl.steps.transform import transform
from etl.stores import before, loads, raw, rejects
from etl.stores.loads import Counts
from etl.stores.typed import TypedBatch
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rehearsal:
    """A replay that is undone in the end.

    Parameters
    ----------
    typed_root
        Where typed batches go meanwhile.
    """

    typed_root: UPath


@contextmanager
def rehearse(entity: Entity, *, warehouse: Warehouse) -> Iterator[Rehearsal]:
    """Undo everything that the block replays; inside it, `etl.stores.changes` tells what it changed.

    Loads of the same accounts wait until the block ends.

    Raises
    ------
    ReplayInterrupted
        If a load and the block waited for each other.
    """
    with TemporaryDirectory(prefix="sluice-replay-") as folder:
        try:
            with warehouse.transaction(force_rollback=True):
                before.begin(warehouse, entity)
                yield Rehearsal(UPath(folder))
        except DeadlockDetected:
            raise ReplayInterrupted(entity.name) from None


def replay(
    entity: Entity,
    raw_id: int,
    *,
    warehouse: Warehouse,
    root: UPath,
    later: Collection[int] = (),
    rehearsal: Rehearsal | None = None,
) -> Counts:
    """Type a raw batch again and merge what differs, and return what became of its records.

    Parameters
    ----------
    later
        Batches, in their order, that were loaded after it and are not replayed too: they bring rows that the table was
        found to lack from what they were in this batch to what they are now.
    rehearsal
        What undoes it in the end; None to keep it.

    Raises
    ------
    RawMissing
        If there is no such raw batch.
    RawCorrupt
        If it does not hold what was sealed.
    TooManyRejects
        If more than the tolerated share of its records was rejected.
    """
    typed_root = rehearsal.typed_root if rehearsal else root
    transform(entity, raw_id, warehouse=warehouse, root=root, typed_root=typed_root)
    typed = TypedBatch(typed_root, entity, raw.find(warehouse, raw_id))
    with warehouse.transaction():
        raw.lock(warehouse, raw_id)
        prepared = merge.prepare(entity, typed, warehouse=warehouse)
        if rehearsal is None:
            before.begin(warehouse, entity)
            before.remember_missing(warehouse, entity)
        else:
            before.remember(warehouse, entity)
        rejected = rejects.count(warehouse, raw_id=raw_id, entity=entity.name, version=entity.version)
        counts = merge.apply(entity, typed, prepared, rejected=rejected, warehouse=warehouse)
        if later and before.brought_back(warehouse, entity):
            for following in later:
                _catch_up(entity, following, warehouse=warehouse, root=root, typed_root=typed_root)
        _record(entity, raw_id, counts, again=prepared.again, warehouse=warehouse)
    log.info("%s: raw batch %d, again: %s", entity.name, raw_id, counts)
    return counts


def _catch_up(entity: Entity, raw_id: int, *, warehouse: Warehouse, root: UPath, typed_root: UPath) -> None:
    """Merge what a later batch says of the rows that were missing."""
    batch = raw.find(warehouse, raw_id)
    typed = TypedBatch(root, entity, batch)
    if not typed.exists():
        typed = TypedBatch(typed_root, entity, batch)
        transform(entity, raw_id, warehouse=warehouse, root=root, typed_root=typed_root)
    prepared = merge.prepare(entity, typed, warehouse=warehouse)
    if not (entity.feed and typed.rereads()):
        # What a feed does not tell, when it is read from its beginning, counts as well.
        before.keep_missing(warehouse, entity)
    merge.apply(entity, typed, prepared, rejected=0, warehouse=warehouse)


def _record(entity: Entity, raw_id: int, counts: Counts, *, again: bool, warehouse: Warehouse) -> None:
    if loads.find(warehouse, raw_id=raw_id, entity=entity.name, version=entity.version) is None:
        loads.record(warehouse, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
    if again:
        loads.record_replay(warehouse, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
