"""Purge rows: remove what tells of a past that nobody asks about any more."""

from __future__ import annotations

import logging
from datetime import datetime

from etl.db import locks
from etl.db.connection import Connection
from etl.declare.retention import Retention
from etl.maintenance.removed import PurgeResult
from etl.maintenance.store import expired
from etl.maintenance.store.expired import ExpiringTable

log = logging.getLogger(__name__)


def purge_rows(retention: Retention, *, db: Connection, as_of: datetime, dry_run: bool) -> list[PurgeResult]:
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
        ExpiringTable.REJECTS: ("rejects", retention.rejects),
        ExpiringTable.REPLAYS: ("replays", retention.history),
        ExpiringTable.SKIPPED_ACCOUNTS: ("reasons of accounts left out", retention.history),
        ExpiringTable.CHUNKS: ("chunks", retention.history),
    }
    removed = []
    with locks.hold(db, locks.MAINTENANCE):
        for table, (what, age) in kept.items():
            count = 0
            for keys in expired.find_expired_keys(db, table, before=as_of - age):
                count += len(keys) if dry_run else expired.delete_rows(db, table, keys)
            removed.append(PurgeResult(what, count))
    log.info("%s; dry run: %s", ", ".join(map(str, removed)), dry_run)
    return removed


def purge_deliveries(retention: Retention, *, db: Connection, as_of: datetime, dry_run: bool) -> list[PurgeResult]:
    """Remove the chunks and then the deliveries of runs past their retention; the runs, and what users said, stay.

    Each page is a transaction. Nobody is told twice by it: without chunks a run sends nothing, and its period is never
    planned again. The deliveries of a run that has not ended stay, however old it is.

    Parameters
    ----------
    as_of
        Now.
    dry_run
        Whether to tell only what would be removed.

    Raises
    ------
    LockTaken
        If another process is at maintenance.
    """
    before = as_of - retention.deliveries
    with locks.hold(db, locks.MAINTENANCE):
        chunks = sum(expired.purge_chunks(db, before=before, dry_run=dry_run))
        deliveries = sum(expired.purge_deliveries(db, before=before, dry_run=dry_run))
        unended = expired.find_unfinished_runs(db, before=before)
    log.info("%d deliveries of runs that ended before %s; dry run: %s", deliveries, before, dry_run)
    if unended:
        log.warning(
            "%d runs of notices were planned before %s and have not ended, so that their deliveries are kept; "
            "`python -m etl notify cancel RUN` ends one; the first is %d",
            len(unended),
            before,
            unended[0],
        )
    return [PurgeResult("chunks of notices", chunks), PurgeResult("deliveries", deliveries)]
