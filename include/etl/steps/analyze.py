"""Analyze: renew the statistics that nobody else renews, those of partitioned tables as a whole."""

import logging

from etl.stores import locks, statistics
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


def analyze(*, warehouse: Warehouse, dry_run: bool) -> list[str]:
    """Analyze partitioned tables that changed since they were last analyzed, and return their names.

    All other tables, partitions among them, are autovacuum's.

    Parameters
    ----------
    dry_run
        Whether to tell only what would be analyzed.

    Raises
    ------
    LockTaken
        If another process is at maintenance.
    """
    with locks.hold(warehouse, locks.MAINTENANCE):
        tables = statistics.outdated(warehouse)
        for schema, table in () if dry_run else tables:
            statistics.analyze(warehouse, schema, table)
    names = [f"{schema}.{table}" for schema, table in tables]
    log.info("analyzed: %s; dry run: %s", ", ".join(names) or "nothing", dry_run)
    return names
