"""Analyze: renew the statistics that nobody else renews, those of partitioned tables as a whole."""

import logging

from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from etl.db import locks
from etl.db.connection import Warehouse
from etl.db.statements import statement

SCHEMAS = ("core", "etl", "insight", "notify")
"""Where Sluice has tables."""

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
        tables = _outdated_tables(warehouse)
        for schema, table in () if dry_run else tables:
            _analyze_table(warehouse, schema, table)
    names = [f"{schema}.{table}" for schema, table in tables]
    log.info("analyzed: %s; dry run: %s", ", ".join(names) or "nothing", dry_run)
    return names


def _outdated_tables(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Return the partitioned tables that are worth to be analyzed: schema and name."""
    with warehouse.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement("maintenance/analyze", "outdated"), {"schemas": list(SCHEMAS)}).fetchall()


def _analyze_table(warehouse: Warehouse, schema: str, table: str) -> None:
    """Analyze a table, and its partitions."""
    warehouse.execute(SQL("analyze {}").format(Identifier(schema, table)))
