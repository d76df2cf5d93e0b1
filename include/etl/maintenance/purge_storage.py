"""Removes files past their retention: raw batches, raw objects without a batch, typed batches, unfinished files.

The rows of raw batches are marked as purged before their objects are removed. A purge that is interrupted in between
leaves objects that no batch names; the next purge finds them by listing the storage. An object that is being sealed is
published before its row exists: it is too young to be removed, and locked until its row is there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
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
from etl.sync.store import interruptions, landing, raw_batches, typed_batches, unfinished_downloads

MAX_AGE_OF_KEPT_PAGES = timedelta(days=30)
"""How long the pages of an unfinished feed are kept since they were last continued, longer than between two runs."""

_VERSION = re.compile(r"v(?P<version>\d+)(-\d+)?", re.ASCII)
"""Name of the folder of an entity's version, with the format of its files; those of the first format had none."""
_ROWS_FILE = "rows"
"""Stem of the name of the file that each typed batch has, in whatever format."""

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
    """Purge the raw batches that are past their retention and loaded by every entity that reads them.

    A batch with open rejects, of a quarantined login or of an undecided reconciliation is kept at any age.

    Parameters
    ----------
    entities
        All that read raw batches.
    root
        The raw root.
    as_of
        Now.
    dry_run
        Whether to remove nothing, and only return what would be removed.

    Raises
    ------
    LockTaken
        If another process does maintenance.
    """
    before = as_of - retention.raw_batches
    batch_count, object_count, total_size = 0, 0, 0
    with locks.hold(db, locks.MAINTENANCE):
        for page in expired.find_expired_batches(db, entities, before=before):
            raw_ids = [raw_id for raw_id, _ in page]
            purged = page if dry_run else expired.mark_purged(db, raw_ids)
            batch_count += len(purged)
            paths = {path for _, path in purged}
            sizes = (
                _unreferenced_sizes(db, root, paths, except_raw_ids=raw_ids)
                if dry_run
                else _remove_unreferenced(db, root, paths)
            )
            for size in sizes:
                object_count, total_size = object_count + 1, total_size + size
        kept_count = expired.count_kept_batches(db, before=before) - (batch_count if dry_run else 0)
    log.info("%d raw batches, sealed before %s, of %d objects; dry run: %s", batch_count, before, object_count, dry_run)
    if kept_count:
        log.warning(
            "%d raw batches sealed before %s are kept, since they are not loaded, are being loaded, or have open "
            "rejects, quarantined logins or an undecided reconciliation; `sluice replay --batch ID` loads one that no "
            "run reads any more, and `sluice rejects list` shows the rejects",
            kept_count,
            before,
        )
    return [PurgeResult("raw batches", batch_count), PurgeResult("raw objects", object_count, total_size)]


def purge_orphans(
    retention: Retention, *, db: Connection, root: UPath, as_of: datetime, dry_run: bool
) -> list[PurgeResult]:
    """Remove raw objects that no batch names, once they are too old to be still sealed; see `purge_raw`."""
    before = as_of - retention.unfinished
    object_count, total_size = 0, 0
    with locks.hold(db, locks.MAINTENANCE):
        stored_objects = listing.written_before(root / raw_batches.FOLDER, before)
        all_paths = (stored.path.relative_to(root).as_posix() for stored in stored_objects)
        paths = (path for path in all_paths if raw_batches.content_hash_from_path(path))
        while page := list(islice(paths, expired.MAX_BATCHES)):
            orphans = expired.find_unreferenced_objects(db, page)
            sizes = (
                _unreferenced_sizes(db, root, orphans) if dry_run else _remove_unreferenced(db, root, orphans, before)
            )
            for size in sizes:
                object_count, total_size = object_count + 1, total_size + size
    log.info("%d raw objects without a batch, written before %s; dry run: %s", object_count, before, dry_run)
    return [PurgeResult("orphaned objects", object_count, total_size)]


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
        Whether to remove nothing, and only return what would be removed.

    Raises
    ------
    LockTaken
        If another process does maintenance.
    """
    before = as_of - retention.typed_batches
    folder = root / typed_batches.FOLDER
    batch_count, total_size = 0, 0
    with locks.hold(db, locks.MAINTENANCE):
        for file in _removable_typed_files(db, folder, before):
            size = file.size if dry_run else listing.remove(file.path, older_than=before)
            if size is not None:
                batch_count, total_size = batch_count + (file.path.stem == _ROWS_FILE), total_size + size
        if not dry_run:
            listing.remove_empty_folders(folder, older_than=as_of - retention.unfinished)
    log.info("%d typed batches, written before %s; dry run: %s", batch_count, before, dry_run)
    return [PurgeResult("typed batches", batch_count, total_size)]


def purge_unfinished(
    retention: Retention, *, db: Connection, root: UPath, as_of: datetime, dry_run: bool
) -> list[PurgeResult]:
    """Remove landing pages of attempts that were never sealed, and drafts that killed processes left behind.

    No records are lost: a cursor moves only when its rows are loaded, so the next run requests the same pages again.
    Pages of a feed that the next download continues from stay, as long as it can. The rows that tell of them are
    removed with them, and so are those of steps that were interrupted and not tried again.

    Raises
    ------
    LockTaken
        If another process does maintenance.
    """
    before = as_of - retention.unfinished
    results = []
    with locks.hold(db, locks.MAINTENANCE):
        kept = unfinished_downloads.all_kept_folders(db, since=as_of - MAX_AGE_OF_KEPT_PAGES)
        if not dry_run:
            unfinished_downloads.remove_unusable(db, since=as_of - MAX_AGE_OF_KEPT_PAGES)
            interruptions.remove_old(db, before=as_of - MAX_AGE_OF_KEPT_PAGES)
        for label, folder in (("landing pages", root / landing.FOLDER), ("drafts", root / objects.DRAFTS)):
            count, total_size = 0, 0
            for file in listing.written_before(folder, before):
                if landing.folder_of(file.path, root) in kept:
                    continue
                size = file.size if dry_run else listing.remove(file.path, older_than=before)
                if size is not None:
                    count, total_size = count + 1, total_size + size
            results.append(PurgeResult(label, count, total_size))
        if not dry_run:
            listing.remove_empty_folders(root / landing.FOLDER, older_than=before)
    log.info("%s, written before %s; dry run: %s", ", ".join(map(str, results)), before, dry_run)
    return results


def _unreferenced_sizes(
    db: Connection, root: UPath, paths: Collection[str], *, except_raw_ids: Collection[int] = ()
) -> Iterator[int]:
    """Yield the sizes of the objects that no batch names, apart from excepted batches."""
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


def _removable_typed_files(db: Connection, folder: UPath, before: datetime) -> Iterator[StoredObject]:
    """Yield the files of typed batches that were written before an instant, unless a load is still to read them."""
    files = ((file, _parse_typed_batch(file.path, folder)) for file in listing.written_before(folder, before))
    batch_files = ((file, batch) for file, batch in files if batch is not None)
    while page := list(islice(batch_files, expired.MAX_BATCHES)):
        unloaded = expired.find_unloaded_typed_batches(db, [batch for _, batch in page])
        yield from (file for index, (file, _) in enumerate(page) if index not in unloaded)


def _parse_typed_batch(path: UPath, folder: UPath) -> tuple[str, int, str] | None:
    """Return entity, version and content hash of a typed batch's file; None if it is not one."""
    match PurePosixPath(path.relative_to(folder).as_posix()).parts:
        case (entity, version, content_hash, _) if match := _VERSION.fullmatch(version):
            return entity, int(match["version"]), content_hash
    return None
