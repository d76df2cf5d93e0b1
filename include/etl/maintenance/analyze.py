"""Analyze: renew the statistics that nobody else renews, those of partitioned tables as a whole."""

import logging

from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import statement

SCHEMAS = ("core", "etl", "insight", "notify")
"""Where Sluice has tables."""

log = logging.getLogger(__name__)


def analyze_table(*, db: Connection, dry_run: bool) -> list[str]:
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
    with locks.hold(db, locks.MAINTENANCE):
        tables = _find_stale_tables(db)
        for schema, table in () if dry_run else tables:
            _analyze_table(db, schema, table)
    names = [f"{schema}.{table}" for schema, table in tables]
    log.info("analyzed: %s; dry run: %s", ", ".join(names) or "nothing", dry_run)
    return names


def _find_stale_tables(db: Connection) -> list[tuple[str, str]]:
    """Return the partitioned tables that are worth to be analyzed: schema and name."""
    with db.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement("maintenance/analyze", "stale_tables"), {"schemas": list(SCHEMAS)}).fetchall()


def _analyze_table(db: Connection, schema: str, table: str) -> None:
    """Analyze a table, and its partitions."""
    db.execute(SQL("analyze {}").format(Identifier(schema, table)))
