"""Purge files: remove typed batches past their retention, and what was never finished below the raw root."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import PurePosixPath

from upath import UPath

from etl.declare.retention import Retention
from etl.steps.removed import Removed
from etl.stores import landing, listing, locks, objects, purges, typed
from etl.stores.listing import Found
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)

_ROWS = "rows.parquet"


def purge_typed(
    retention: Retention, *, warehouse: Warehouse, root: UPath, as_of: datetime, dry_run: bool
) -> list[Removed]:
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
    folder = root / typed.FOLDER
    batches, size = 0, 0
    with locks.hold(warehouse, locks.MAINTENANCE):
        for found in _spare(warehouse, folder, before):
            removed = found.size if dry_run else listing.remove(found.path, older_than=before)
            if removed is not None:
                batches, size = batches + (found.path.name == _ROWS), size + removed
        if not dry_run:
            listing.remove_empty_folders(folder, older_than=as_of - retention.unfinished)
    log.info("%d typed batches, written before %s; dry run: %s", batches, before, dry_run)
    return [Removed("typed batches", batches, size)]


def purge_unfinished(
    retention: Retention, *, warehouse: Warehouse, root: UPath, as_of: datetime, dry_run: bool
) -> list[Removed]:
    """Remove landing pages of attempts that were never sealed, and drafts that killed processes left.

    Nothing is lost by it: a cursor moves only when its rows are loaded, so the provider is asked again.

    Raises
    ------
    LockTaken
        If another process is at maintenance.
    """
    before = as_of - retention.unfinished
    removed = []
    with locks.hold(warehouse, locks.MAINTENANCE):
        for what, folder in (("landing pages", root / landing.FOLDER), ("drafts", root / objects.DRAFTS)):
            count, size = 0, 0
            for found in listing.older(folder, before):
                gone = found.size if dry_run else listing.remove(found.path, older_than=before)
                if gone is not None:
                    count, size = count + 1, size + gone
            removed.append(Removed(what, count, size))
        if not dry_run:
            listing.remove_empty_folders(root / landing.FOLDER, older_than=before)
    log.info("%s, written before %s; dry run: %s", ", ".join(map(str, removed)), before, dry_run)
    return removed


def _spare(warehouse: Warehouse, folder: UPath, before: datetime) -> Iterator[Found]:
    """Yield the files of typed batches that are old and not waited for."""
    files = ((found, _batch(found.path, folder)) for found in listing.older(folder, before))
    known = ((found, batch) for found, batch in files if batch is not None)
    while some := list(islice(known, purges.BATCHES)):
        waiting = purges.waiting(warehouse, [batch for _, batch in some])
        yield from (found for place, (found, _) in enumerate(some) if place not in waiting)


def _batch(path: UPath, folder: UPath) -> tuple[str, int, str] | None:
    """Return entity, version and content hash of a typed batch's file; None if it is none."""
    match PurePosixPath(path.relative_to(folder).as_posix()).parts:
        case (entity, version, content_hash, _) if version[1:].isdecimal():
            return entity, int(version[1:]), content_hash
    return None
