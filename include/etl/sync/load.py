"""Loading of typed batches: merge a batch into its core table and move the cursors, in one transaction."""

import logging

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import PermanentError
from etl.sync import merge, reprocess
from etl.sync.store import before_image, chunks, loads, raw_batches
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch

log = logging.getLogger(__name__)


def load(entity: Entity, raw_id: int, *, db: Connection, root: UPath) -> LoadCounts:
    """Load a typed batch once; loading it again changes nothing and returns the same counts.

    Records of an account whose cursor another batch moved first are dropped and counted as stale; the other accounts
    are loaded.

    Raises
    ------
    RawMissing
        If there is no such raw batch.
    TypedMissing
        If it has not been transformed.
    """
    batch = raw_batches.find(db, raw_id)
    with db.transaction():
        raw_batches.lock(db, raw_id)
        counts = loads.find(db, raw_id=raw_id, entity=entity.name, version=entity.version)
        if counts is None:
            typed = TypedBatch(root, entity, batch)
            rejected = typed.count_rejected()
            staged = merge.stage(entity, typed, db=db)
            if staged.was_loaded and entity.feed_name:
                # Another version of the entity loaded it, and the feed has advanced since.
                before_image.create(db, entity)
                counts = reprocess.reprocess(entity, typed, staged, rejected=rejected, db=db, root=root)
            else:
                counts = merge.merge_staged(entity, typed, staged, rejected=rejected, db=db).counts
            loads.record(db, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
    log.info("%s: raw batch %d: %s", entity.name, raw_id, counts)
    return counts


def load_pending(entity: Entity, run_id: str, ordinal: int, *, db: Connection, root: UPath) -> None:
    """Load the raw batches of a chunk that the entity has not loaded yet.

    A batch that cannot be loaded does not stop the others.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    PermanentError
        The error of the first batch that could not be loaded, after all others were loaded.
    """
    chunk = chunks.find(db, entity=entity.name, run_id=run_id, ordinal=ordinal)
    first_error: PermanentError | None = None
    for raw_id in chunks.pending_batches(db, chunk, entity=entity.name, sources=entity.sources, version=entity.version):
        try:
            load(entity, raw_id, db=db, root=root)
        except PermanentError as error:
            log.warning("%s: raw batch %d cannot be loaded: %s", entity.name, raw_id, error)
            first_error = first_error or error
    if first_error is not None:
        raise first_error
