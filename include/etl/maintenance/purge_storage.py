"""Purge raw: give up raw batches past their retention, and objects that belong to none.

Rows are marked before objects are removed. What is interrupted between the two leaves objects that no batch names;
the next time they are found by what lies there. An object that is being sealed is published before its row: it is
young, and locked until the row is there.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import islice
from pathlib import PurePosixPath

from upath import UPath

from etl.db import locks
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.retention import Retention
from etl.maintenance.removed import PurgeResult
from etl.maintenance.store import expired
from etl.storage import listing, objects
from etl.storage.listing import StoredObject
from etl.sync.store import landing, raw_batches, typed_batches

log = logging.getLogger(__name__)


def purge_raw(
    retention: Retention,
    entities: Collection[Entity],
    *,
    db: Connection,
    root: UPath,
    as_of: datetime,
    dry_run: bool,
) -> list[PurgeResult]:
    """Purge the batches that are past their retention and loaded by all that read them.

    Parameters
    ----------
    entities
        All that read raw batches.
    root
        The raw root.
    as_of
        Now.
    dry_run
        Whether to tell only what would be removed.

    Raises
    ------
    LockTaken
        If another process is at maintenance.
    """
    before = as_of - retention.raw_batches
    batches, objects, size = 0, 0, 0
    with locks.hold(db, locks.MAINTENANCE):
        for page in expired.find_expired_batches(db, entities, before=before):
            raw_ids = [raw_id for raw_id, _ in page]
            marked = page if dry_run else expired.mark_purged(db, raw_ids)
            batches += len(marked)
            paths = {path for _, path in marked}
            sizes = (
                _unreferenced_sizes(db, root, paths, except_raw_ids=raw_ids)
                if dry_run
                else _remove_unreferenced(db, root, paths)
            )
            for found in sizes:
                objects, size = objects + 1, size + found
        kept = expired.count_kept_batches(db, before=before) - (batches if dry_run else 0)
    log.info("%d raw batches, sealed before %s, of %d objects; dry run: %s", batches, before, objects, dry_run)
    if kept:
        log.warning(
            "%d raw batches sealed before %s are kept, since they are not loaded, or are being loaded; "
            "`python -m etl replay --batch …` loads one that no run reads any more",
            kept,
            before,
        )
    return [PurgeResult("raw batches", batches), PurgeResult("raw objects", objects, size)]


def purge_orphans(
    retention: Retention, *, db: Connection, root: UPath, as_of: datetime, dry_run: bool
) -> list[PurgeResult]:
    """Remove raw objects that no batch names, once they are surely not being sealed; see `purge_raw`."""
    before = as_of - retention.unfinished
    objects, size = 0, 0
    with locks.hold(db, locks.MAINTENANCE):
        found = (
            each.path.relative_to(root).as_posix() for each in listing.written_before(root / raw_batches.FOLDER, before)
        )
        paths = (path for path in found if raw_batches.content_hash_of(path))
        while some := list(islice(paths, expired.MAX_BATCHES)):
            orphans = expired.find_unreferenced_objects(db, some)
            sizes = (
                _unreferenced_sizes(db, root, orphans) if dry_run else _remove_unreferenced(db, root, orphans, before)
            )
            for each in sizes:
                objects, size = objects + 1, size + each
    log.info("%d raw objects without a batch, written before %s; dry run: %s", objects, before, dry_run)
    return [PurgeResult("orphaned objects", objects, size)]


def _unreferenced_sizes(
    db: Connection, root: UPath, paths: Collection[str], *, except_raw_ids: Collection[int] = ()
) -> Iterator[int]:
    """Yield the sizes of the objects that no batch names, but for some."""
    for path in expired.find_unreferenced_objects(db, paths, except_raw_ids=except_raw_ids):
        size = listing.size(root / path)
        if size is not None:
            yield size


def _remove_unreferenced(
    db: Connection, root: UPath, paths: Collection[str], older_than: datetime | None = None
) -> Iterator[int]:
    """Remove the objects that no batch names, and yield their sizes."""
    for path in sorted(paths):
        with db.transaction():
            raw_batches.lock_object(db, path)
            size = None
            if expired.find_unreferenced_objects(db, [path]):
                size = listing.remove(root / path, older_than=older_than)
        if size is not None:
            yield size


_ROWS_FILE = "rows.parquet"


def purge_typed(
    retention: Retention, *, db: Connection, root: UPath, as_of: datetime, dry_run: bool
) -> list[PurgeResult]:
    """Remove typed batches that are past their retention and loaded, or that belong to no raw batch.

    Parameters
    ----------
    root
        The raw root.
    as_of
        Now.
    dry_run
        Whether to tell only what would be removed.

    Raises
    ------
    LockTaken
        If another process is at maintenance.
    """
    before = as_of - retention.typed_batches
    folder = root / typed_batches.FOLDER
    batches, size = 0, 0
    with locks.hold(db, locks.MAINTENANCE):
        for found in _removable_files(db, folder, before):
            removed = found.size if dry_run else listing.remove(found.path, older_than=before)
            if removed is not None:
                batches, size = batches + (found.path.name == _ROWS_FILE), size + removed
        if not dry_run:
            listing.remove_empty_folders(folder, older_than=as_of - retention.unfinished)
    log.info("%d typed batches, written before %s; dry run: %s", batches, before, dry_run)
    return [PurgeResult("typed batches", batches, size)]


def purge_unfinished(
    retention: Retention, *, db: Connection, root: UPath, as_of: datetime, dry_run: bool
) -> list[PurgeResult]:
    """Remove landing pages of attempts that were never sealed, and drafts that killed processes left.

    Nothing is lost by it: a cursor moves only when its rows are loaded, so the provider is asked again.

    Raises
    ------
    LockTaken
        If another process is at maintenance.
    """
    before = as_of - retention.unfinished
    removed = []
    with locks.hold(db, locks.MAINTENANCE):
        for what, folder in (("landing pages", root / landing.FOLDER), ("drafts", root / objects.DRAFTS)):
            count, size = 0, 0
            for found in listing.written_before(folder, before):
                gone = found.size if dry_run else listing.remove(found.path, older_than=before)
                if gone is not None:
                    count, size = count + 1, size + gone
            removed.append(PurgeResult(what, count, size))
        if not dry_run:
            listing.remove_empty_folders(root / landing.FOLDER, older_than=before)
    log.info("%s, written before %s; dry run: %s", ", ".join(map(str, removed)), before, dry_run)
    return removed


def _removable_files(db: Connection, folder: UPath, before: datetime) -> Iterator[StoredObject]:
    """Yield the files of typed batches that are old and not waited for."""
    files = ((found, _typed_batch_of(found.path, folder)) for found in listing.written_before(folder, before))
    known = ((found, batch) for found, batch in files if batch is not None)
    while some := list(islice(known, expired.MAX_BATCHES)):
        waiting = expired.find_unloaded_typed_batches(db, [batch for _, batch in some])
        yield from (found for place, (found, _) in enumerate(some) if place not in waiting)


def _typed_batch_of(path: UPath, folder: UPath) -> tuple[str, int, str] | None:
    """Return entity, version and content hash of a typed batch's file; None if it is none."""
    match PurePosixPath(path.relative_to(folder).as_posix()).parts:
        case (entity, version, content_hash, _) if version[1:].isdecimal():
            return entity, int(version[1:]), content_hash
    return None
