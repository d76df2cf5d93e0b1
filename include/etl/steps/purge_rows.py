"""Purge rows: remove what tells of a past that nobody asks about any more."""

from __future__ import annotations

import logging
from datetime import datetime

from etl.declare.retention import Retention
from etl.steps.removed import Removed
from etl.stores import locks, purges
from etl.stores.purges import Aging
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


def purge_rows(retention: Retention, *, warehouse: Warehouse, as_of: datetime, dry_run: bool) -> list[Removed]:
    """Remove rejects of loaded batches, replays, accounts that were left out, and chunks, past their retention.

    Each page of rows is a transaction. What loads and replays still need stays, however old it is; `etl.loads` stays
    for good, since what it does not name is loaded again.

    Parameters
    ----------
    as_of
        Now.
    dry_run
        Whether to tell only what would be removed; chunks that others of it keep are then not counted.

    Raises
    ------
    LockTaken
        If another process is at maintenance.
    """
    kept = {
        Aging.REJECTS: ("rejects", retention.rejects),
        Aging.REPLAYS: ("replays", retention.history),
        Aging.LEFT_OUT: ("reasons of accounts left out", retention.history),
        Aging.CHUNKS: ("chunks", retention.history),
    }
    removed = []
    with locks.hold(warehouse, locks.MAINTENANCE):
        for table, (what, age) in kept.items():
            count = 0
            for keys in purges.aged(warehouse, table, before=as_of - age):
                count += len(keys) if dry_run else purges.remove(warehouse, table, keys)
            removed.append(Removed(what, count))
    log.info("%s; dry run: %s", ", ".join(map(str, removed)), dry_run)
    return removed
