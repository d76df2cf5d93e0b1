"""Loading of typed batches: merge a batch into its core table and move the cursors, in one transaction."""

import logging
from datetime import UTC

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import PermanentError
from etl.sync import reprocess
from etl.sync.merging import merge, stage
from etl.sync.store import before_image, chunks, loads, quarantines, raw_batches
from etl.sync.store.loads import LoadCounts
from etl.sync.store.quarantines import Quarantine
from etl.sync.store.typed_batches import TypedBatch
from etl.sync.transform import transform

log = logging.getLogger(__name__)


class NotAcceptable(PermanentError):
    """The records of a quarantined login cannot be loaded, or no longer."""

    def __init__(self, quarantine: Quarantine, reason: str, remedy: str = "") -> None:
        entity = quarantine.entity
        batch = f" from raw batch {quarantine.raw_id}" if quarantine.raw_id else ""
        remedy = remedy or (
            f"trigger etl_{entity}, which reads it again from where its cursor is, and accept it then if it is still "
            "quarantined."
        )
        super().__init__(
            f"{entity}: provider account {quarantine.provider_account_id} cannot be accepted{batch}: {reason}; {remedy}"
        )


def load(entity: Entity, raw_id: int, *, db: Connection, root: UPath) -> LoadCounts:
    """Load a typed batch once; loading it again changes nothing and returns the same counts.

    A login of which another batch was loaded since the download is left out as stale, and one with too many rejects is
    quarantined; the other logins are loaded.

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
            if entity.feed_name and loads.was_loaded(db, raw_id=raw_id, entity=entity.name):
                # Another version of the entity loaded it, and the feed has advanced since.
                before_image.create(db, entity)
                counts = loads.add_up(
                    reprocess.reprocess(entity, typed, staged, db=db, root=root)
                    for staged in stage.stage(entity, typed, db=db)
                )
            else:
                counts = loads.add_up(
                    merge.merge_staged(entity, typed, staged, db=db).counts
                    for staged in stage.stage(entity, typed, copies_new_logins=True, db=db)
                )
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


def accept(entity: Entity, provider_account_id: int, *, db: Connection, root: UPath) -> LoadCounts | None:
    """Load the valid records of a quarantined login, and return what became of all its records.

    The batch is the latest that was not loaded. Its cursor moves as on a first load, so that the next run continues
    from there; the rejected records stay rejects.

    Returns
    -------
    LoadCounts or None
        None if the login is not quarantined, or no longer.

    Raises
    ------
    NotAcceptable
        If another batch of the login was loaded since, the batch was purged, or the login killed the process, so that
        none of its records was typed.
    """
    quarantine = quarantines.find(db, entity=entity.name, provider_account_id=provider_account_id)
    if quarantine is None:
        return None
    raw_id = quarantine.raw_id
    if quarantine.is_killed or raw_id is None:
        reason = f"{quarantine.reason}, so that none of its records was typed"
        raise NotAcceptable(quarantine, reason, quarantine.remedy)
    batch = raw_batches.find(db, raw_id)
    typed = TypedBatch(root, entity, batch)
    if not typed.exists():
        if batch.purged_at is not None:
            raise NotAcceptable(quarantine, f"it was purged at {batch.purged_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
        transform(entity, raw_id, db=db, root=root)
    with db.transaction():
        raw_batches.lock(db, raw_id)
        if quarantines.find(db, entity=entity.name, provider_account_id=provider_account_id) == quarantine:
            staged = stage.stage_first_load(entity, typed, db=db, only={provider_account_id})
            if provider_account_id in staged.left_out:
                raise NotAcceptable(quarantine, "another batch moved its cursor first")
            counts = merge.merge_staged(entity, typed, staged, db=db).counts
            loads.accept(db, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
            log.info("%s: raw batch %d: accepted account %d: %s", entity.name, raw_id, provider_account_id, counts)
            return counts
    # A load, or another acceptance, has ended this quarantine meanwhile; there may be a newer one.
    return accept(entity, provider_account_id, db=db, root=root)
