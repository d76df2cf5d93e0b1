"""Analyzes partitioned tables as a whole, since autovacuum analyzes their partitions only."""

import logging

from psycopg.sql import SQL, Identifier

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("maintenance/analyze")

SCHEMAS = ("core", "etl", "insight", "notify")
"""Schemas of Sluice's tables."""

log = logging.getLogger(__name__)


def analyze_stale_tables(*, db: Connection, dry_run: bool) -> list[str]:
    """Analyze the partitioned tables that changed since they were last analyzed, and return their names.

    All other tables, and the partitions themselves, are left to autovacuum.

    Parameters
    ----------
    dry_run
        Whether to analyze nothing, and only return what would be analyzed.

    Raises
    ------
    LockTaken
        If another process does maintenance.
    """
    with locks.hold(db, locks.MAINTENANCE):
        tables = _find_stale_tables(db)
        for schema, table in () if dry_run else tables:
            _analyze_with_partitions(db, schema, table)
    names = [f"{schema}.{table}" for schema, table in tables]
    log.info("analyzed: %s; dry run: %s", ", ".join(names) or "nothing", dry_run)
    return names


def _find_stale_tables(db: Connection) -> list[tuple[str, str]]:
    """Return schema and name of each partitioned table whose statistics are missing or out of date."""
    return _SQL["stale_tables"].rows(db, {"schemas": list(SCHEMAS)})


def _analyze_with_partitions(db: Connection, schema: str, table: str) -> None:
    db.execute(SQL("analyze {}").format(Identifier(schema, table)))
