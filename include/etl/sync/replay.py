"""Replay of a raw batch: transform it again and merge what differs.

No cursor moves, and newer data is not overwritten. Only what was never loaded is loaded as usual: a whole batch, or the
logins of a batch that were quarantined and no longer have too many rejects, unless another batch was loaded since.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from psycopg.errors import DeadlockDetected
from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import ReplayDeadlocked
from etl.sync import reprocess
from etl.sync.merging import stage
from etl.sync.store import before_image, loads, raw_batches
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch
from etl.sync.transform import transform

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DryRun:
    """A replay that is rolled back at its end.

    Parameters
    ----------
    typed_root
        Temporary root of its typed batches.
    """

    typed_root: UPath


@contextmanager
def start_dry_run(entity: Entity, *, db: Connection) -> Iterator[DryRun]:
    """Roll back what the block replays; inside the block, `etl.sync.store.before_image` returns what it changed.

    Loads of the same accounts wait until the block ends.

    Raises
    ------
    ReplayDeadlocked
        If a load and the block deadlocked.
    """
    with (
        TemporaryDirectory(prefix="sluice-replay-") as folder,
        _translate_deadlock(entity),
        db.transaction(force_rollback=True),
    ):
        before_image.create(db, entity)
        yield DryRun(UPath(folder))


def replay(
    entity: Entity,
    raw_id: int,
    *,
    db: Connection,
    root: UPath,
    except_batches: Collection[int] = (),
    dry_run: DryRun | None = None,
) -> LoadCounts:
    """Transform a raw batch again, merge what differs, and return the counts of its records.

    Parameters
    ----------
    except_batches
        Batches that the caller replays too. All other batches that were loaded after this one are merged again for the
        rows that it changed, so that these end in their current state.
    dry_run
        The dry run that rolls it back; None to commit.

    Raises
    ------
    RawMissing
        If there is no such raw batch.
    RawCorrupt
        If it does not hold the bytes that were sealed.
    ReplayDeadlocked
        If a load and the replay deadlocked.
    """
    typed_root = dry_run.typed_root if dry_run else root
    transform(entity, raw_id, db=db, root=root, typed_root=typed_root)
    typed = TypedBatch(typed_root, entity, raw_batches.find(db, raw_id))
    with _translate_deadlock(entity), db.transaction():
        raw_batches.lock(db, raw_id)
        was_loaded = loads.was_loaded(db, raw_id=raw_id, entity=entity.name)
        if dry_run is None:
            before_image.create(db, entity)
        counts = loads.add_up(
            reprocess.reprocess(entity, typed, staged, db=db, root=root, except_batches=except_batches)
            for staged in stage.stage(entity, typed, db=db)
        )
        _record_counts(entity, raw_id, counts, was_loaded=was_loaded, db=db)
    log.info("%s: replayed raw batch %d: %s", entity.name, raw_id, counts)
    return counts


@contextmanager
def _translate_deadlock(entity: Entity) -> Iterator[None]:
    try:
        yield
    except DeadlockDetected:
        raise ReplayDeadlocked(entity.name) from None


def _record_counts(entity: Entity, raw_id: int, counts: LoadCounts, *, was_loaded: bool, db: Connection) -> None:
    if loads.find(db, raw_id=raw_id, entity=entity.name, version=entity.version) is None:
        loads.record(db, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
    if was_loaded:
        loads.record_replay(db, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
