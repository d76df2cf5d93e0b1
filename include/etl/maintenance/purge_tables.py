"""Removes rows past their retention: history of syncs, rejects, and deliveries of notices."""

from __future__ import annotations

import logging
from datetime import datetime

from etl.db import locks
from etl.db.connection import Connection
from etl.declare.retention import Retention
from etl.maintenance.removed import PurgeResult
from etl.maintenance.store import expired, expired_deliveries
from etl.maintenance.store.expired import ExpiringTable
from etl.notify.bounces.settle import settle_bounces

log = logging.getLogger(__name__)


def purge_rows(retention: Retention, *, db: Connection, as_of: datetime, dry_run: bool) -> list[PurgeResult]:
    """Remove closed rejects, field warnings and the history of runs that are past their retention.

    Each page of rows is one transaction. Rows that loads and replays still need are kept at any age, and so are open
    rejects; `etl.loads` is kept for good, since a batch that it does not name is loaded again.

    Parameters
    ----------
    as_of
        Now.
    dry_run
        Whether to remove nothing, and only return what would be removed. Chunks that are kept only because of rows
        that would be removed are not counted then.

    Raises
    ------
    LockTaken
        If another process does maintenance.
    """
    tables = {
        ExpiringTable.REJECTS: ("rejects", retention.rejects),
        ExpiringTable.FIELD_WARNINGS: ("field warnings", retention.rejects),
        ExpiringTable.REPLAYS: ("replays", retention.history),
        ExpiringTable.SKIPPED_ACCOUNTS: ("skipped accounts", retention.history),
        ExpiringTable.GAPS: ("gaps", retention.history),
        ExpiringTable.RECONCILIATIONS: ("reconciliations", retention.history),
        ExpiringTable.CHUNKS: ("chunks", retention.history),
    }
    results = []
    with locks.hold(db, locks.MAINTENANCE):
        for table, (label, max_age) in tables.items():
            count = 0
            for keys in expired.find_expired_keys(db, table, before=as_of - max_age):
                count += len(keys) if dry_run else expired.delete_rows(db, table, keys)
            results.append(PurgeResult(label, count))
    log.info("%s; dry run: %s", ", ".join(map(str, results)), dry_run)
    return results


def purge_deliveries(retention: Retention, *, db: Connection, as_of: datetime, dry_run: bool) -> list[PurgeResult]:
    """Remove the chunks and then the deliveries of runs past their retention; the runs and users' consents are kept.

    Each page is one transaction. No message is sent twice because of it: without chunks a run sends nothing, and its
    period is never planned again. The deliveries of a run that has not ended are kept at any age.

    Parameters
    ----------
    as_of
        Now.
    dry_run
        Whether to remove nothing, and only return what would be removed.

    Raises
    ------
    LockTaken
        If another process does maintenance.
    """
    before = as_of - retention.deliveries
    with locks.hold(db, locks.MAINTENANCE):
        chunks = sum(expired_deliveries.purge_run_chunks(db, before=before, dry_run=dry_run))
        deliveries = sum(expired_deliveries.purge_deliveries(db, before=before, dry_run=dry_run))
        unfinished = expired_deliveries.find_unfinished_runs(db, before=before)
    log.info("%d deliveries of runs that ended before %s; dry run: %s", deliveries, before, dry_run)
    if unfinished:
        log.warning(
            "%d runs of notices were planned before %s and have not ended, so that their deliveries are kept; "
            "`sluice notify cancel RUN` ends one; the first is %d",
            len(unfinished),
            before,
            unfinished[0],
        )
    return [PurgeResult("notice chunks", chunks), PurgeResult("deliveries", deliveries)]


def purge_bounces(retention: Retention, *, db: Connection, as_of: datetime, dry_run: bool) -> list[PurgeResult]:
    """End the addresses that bounced enough, and remove what was said against addresses as long ago as old deliveries.

    Parameters
    ----------
    as_of
        Now.
    dry_run
        Whether to change nothing, and only return what would be removed.
    """
    if not dry_run:
        settle_bounces(db=db, as_of=as_of)
    bounces = expired_deliveries.purge_bounces(db, before=as_of - retention.deliveries, dry_run=dry_run)
    return [PurgeResult("bounces", bounces)]
