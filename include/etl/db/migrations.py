"""The warehouse's schema, migrated forward only.

`include/sql/schema/` holds numbered files, each applied once, in order. The tables of the entities stand beside their
merge in `include/sql/entities/` and are created, if absent, after them.
"""

from collections.abc import Iterable

from psycopg.rows import scalar_row

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import SQL_ROOT, statement


def migrate(db: Connection, entities: Iterable[str]) -> list[str]:
    """Bring the schema up to date, in one transaction.

    Only one process migrates at a time; the others wait and then find nothing to do.

    Parameters
    ----------
    entities
        Names of the entities whose tables must exist.

    Returns
    -------
    list of str
        Names of the migrations that were applied now.
    """
    with db.transaction(), db.cursor(row_factory=scalar_row) as cursor:
        locks.acquire_until_commit(db, "migrations")
        cursor.execute(statement("db/migrations", "create_table"))
        applied = set(cursor.execute(statement("db/migrations", "applied")).fetchall())
        missing = [path for path in sorted((SQL_ROOT / "schema").glob("*.sql")) if path.stem not in applied]
        for path in missing:
            cursor.execute(path.read_bytes())
            cursor.execute(statement("db/migrations", "record"), {"name": path.stem})
        for entity in entities:
            cursor.execute(statement(f"entities/{entity}", "table"))
    return [path.stem for path in missing]
