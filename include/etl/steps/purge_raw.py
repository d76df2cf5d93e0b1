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

from upath import UPath

from etl.declare.entity import Entity
from etl.declare.retention import Retention
from etl.steps.removed import Removed
from etl.stores import listing, locks, purges, raw
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


def purge_raw(
    retention: Retention,
    entities: Collection[Entity],
    *,
    warehouse: Warehouse,
    root: UPath,
    as_of: datetime,
    dry_run: bool,
) -> list[Removed]:
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
    with locks.hold(warehouse, locks.MAINTENANCE):
        for page in purges.raw_batches(warehouse, entities, before=before):
            raw_ids = [raw_id for raw_id, _ in page]
            marked = page if dry_run else purges.mark(warehouse, raw_ids)
            batches += len(marked)
            paths = {path for _, path in marked}
            sizes = _sizes(warehouse, root, paths, but_for=raw_ids) if dry_run else _remove(warehouse, root, paths)
            for found in sizes:
                objects, size = objects + 1, size + found
        kept = purges.kept(warehouse, before=before) - (batches if dry_run else 0)
    log.info("%d raw batches, sealed before %s, of %d objects; dry run: %s", batches, before, objects, dry_run)
    if kept:
        log.warning(
            "%d raw batches sealed before %s are kept, since they are not loaded, or are being loaded; "
            "`python -m etl replay --batch …` loads one that no run reads any more",
            kept,
            before,
        )
    return [Removed("raw batches", batches), Removed("raw objects", objects, size)]


def purge_orphans(
    retention: Retention, *, warehouse: Warehouse, root: UPath, as_of: datetime, dry_run: bool
) -> list[Removed]:
    """Remove raw objects that no batch names, once they are surely not being sealed; see `purge_raw`."""
    before = as_of - retention.unfinished
    objects, size = 0, 0
    with locks.hold(warehouse, locks.MAINTENANCE):
        found = (each.path.relative_to(root).as_posix() for each in listing.older(root / raw.FOLDER, before))
        paths = (path for path in found if raw.content_hash_of(path))
        while some := list(islice(paths, purges.BATCHES)):
            orphans = purges.unnamed(warehouse, some)
            sizes = _sizes(warehouse, root, orphans) if dry_run else _remove(warehouse, root, orphans, before)
            for each in sizes:
                objects, size = objects + 1, size + each
    log.info("%d raw objects without a batch, written before %s; dry run: %s", objects, before, dry_run)
    return [Removed("orphaned objects", objects, size)]


def _sizes(
    warehouse: Warehouse, root: UPath, paths: Collection[str], *, but_for: Collection[int] = ()
) -> Iterator[int]:
    """Yield the sizes of the objects that no batch names, but for some."""
    for path in purges.unnamed(warehouse, paths, but_for=but_for):
        size = listing.size(root / path)
        if size is not None:
            yield size


def _remove(
    warehouse: Warehouse, root: UPath, paths: Collection[str], older_than: datetime | None = None
) -> Iterator[int]:
    """Remove the objects that no batch names, and yield their sizes."""
    for path in sorted(paths):
        with warehouse.transaction():
            raw.lock_object(warehouse, path)
            size = None
            if purges.unnamed(warehouse, [path]):
                size = listing.remove(root / path, older_than=older_than)
        if size is not None:
            yield size
