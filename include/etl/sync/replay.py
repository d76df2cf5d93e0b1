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

from etl.db.connection import Warehouse
from etl.declare.entity import Entity
from etl.errors import ReplayInterrupted
from etl.sync import merge, reprocess
from etl.sync.store import before_image, loads, raw_batches, rejects
from etl.sync.store.loads import Counts
from etl.sync.store.typed_batches import TypedBatch
from etl.sync.transform import transform

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
    """Undo everything that the block replays; inside it, `etl.sync.store.before_image` tells what it changed.

    Loads of the same accounts wait until the block ends.

    Raises
    ------
    ReplayInterrupted
        If a load and the block waited for each other.
    """
    with (
        TemporaryDirectory(prefix="sluice-replay-") as folder,
        _uninterrupted(entity),
        warehouse.transaction(force_rollback=True),
    ):
        before_image.begin(warehouse, entity)
        yield Rehearsal(UPath(folder))


def replay(
    entity: Entity,
    raw_id: int,
    *,
    warehouse: Warehouse,
    root: UPath,
    besides: Collection[int] = (),
    rehearsal: Rehearsal | None = None,
) -> Counts:
    """Type a raw batch again and merge what differs, and return what became of its records.

    Parameters
    ----------
    besides
        Batches that are replayed too. All others that were loaded after it bring the rows that it wrote from what they
        were in this batch to what they are now.
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
    ReplayInterrupted
        If a load and the replay waited for each other.
    """
    typed_root = rehearsal.typed_root if rehearsal else root
    transform(entity, raw_id, warehouse=warehouse, root=root, typed_root=typed_root)
    typed = TypedBatch(typed_root, entity, raw_batches.find(warehouse, raw_id))
    with _uninterrupted(entity), warehouse.transaction():
        raw_batches.lock(warehouse, raw_id)
        prepared = merge.prepare(entity, typed, warehouse=warehouse)
        if rehearsal is None:
            before_image.begin(warehouse, entity)
        rejected = rejects.count(warehouse, raw_id=raw_id, entity=entity.name, version=entity.version)
        counts = reprocess.apply(
            entity, typed, prepared, rejected=rejected, warehouse=warehouse, root=root, besides=besides
        )
        _record(entity, raw_id, counts, repeated=prepared.again, warehouse=warehouse)
    log.info("%s: raw batch %d, again: %s", entity.name, raw_id, counts)
    return counts


@contextmanager
def _uninterrupted(entity: Entity) -> Iterator[None]:
    try:
        yield
    except DeadlockDetected:
        raise ReplayInterrupted(entity.name) from None


def _record(entity: Entity, raw_id: int, counts: Counts, *, repeated: bool, warehouse: Warehouse) -> None:
    if loads.find(warehouse, raw_id=raw_id, entity=entity.name, version=entity.version) is None:
        loads.record(warehouse, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
    if repeated:
        loads.record_replay(warehouse, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
