"""Sealing of a download attempt: its landing pages, as the provider sent them, become a raw batch."""

import logging

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import LandingMissing
from etl.sync.plan import source_of
from etl.sync.store import chunks, raw_batches, unfinished_downloads
from etl.sync.store.landing import Landing

log = logging.getLogger(__name__)


def store_raw(entity: Entity, run_id: str, ordinal: int, *, db: Connection, root: UPath) -> int:
    """Seal the latest attempt of a chunk and return the id of the raw batch; sealing twice returns the same batch.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    LandingMissing
        If the attempt has no finished download under this raw root.
    """
    chunk = chunks.find(db, entity=entity.name, run_id=run_id, ordinal=ordinal)
    landing = Landing(root, chunk.chunk_id, chunk.attempt)
    raw_id = raw_batches.find_by_attempt(db, chunk.chunk_id, chunk.attempt)
    if raw_id is None:
        try:
            raw_id = raw_batches.seal(
                db,
                root,
                landing.read(),
                source=source_of(entity, chunk.days).name,
                chunk_id=chunk.chunk_id,
                attempt=chunk.attempt,
                opened_at=chunk.opened_at,
            )
        except LandingMissing:
            # Another run of this step may have sealed it and removed its landing pages meanwhile.
            raw_id = raw_batches.find_by_attempt(db, chunk.chunk_id, chunk.attempt)
            if raw_id is None:
                raise
    landing.remove(kept=unfinished_downloads.kept_folders(db, chunk.chunk_id))
    log.info("%s: chunk %d, attempt %d is raw batch %d", entity.name, chunk.chunk_id, chunk.attempt, raw_id)
    return raw_id
