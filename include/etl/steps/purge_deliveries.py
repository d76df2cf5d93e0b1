"""Purge deliveries: forget who was sent what in runs of notices that ended long ago."""

from __future__ import annotations

import logging
from datetime import datetime

from etl.declare.retention import Retention
from etl.steps.removed import Removed
from etl.stores import ledger_purges, locks
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


def purge_deliveries(retention: Retention, *, warehouse: Warehouse, as_of: datetime, dry_run: bool) -> list[Removed]:
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
    with locks.hold(warehouse, locks.MAINTENANCE):
        chunks = sum(ledger_purges.purge_chunks(warehouse, before=before, dry_run=dry_run))
        deliveries = sum(ledger_purges.purge_deliveries(warehouse, before=before, dry_run=dry_run))
        unended = ledger_purges.unended(warehouse, before=before)
    log.info("%d deliveries of runs that ended before %s; dry run: %s", deliveries, before, dry_run)
    if unended:
        log.warning(
            "%d runs of notices were planned before %s and have not ended, so that their deliveries are kept; "
            "`python -m etl notify cancel RUN` ends one; the first is %d",
            len(unended),
            before,
            unended[0],
        )
    return [Removed("chunks of notices", chunks), Removed("deliveries", deliveries)]
