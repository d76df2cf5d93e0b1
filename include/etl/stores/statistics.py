"""What the planner of Postgres knows of the tables."""

from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

SCHEMAS = ("core", "etl", "insight", "notify")
"""Where Sluice has tables."""


def outdated(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Return the partitioned tables that are worth to be analyzed: schema and name."""
    with warehouse.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement("stores/statistics", "outdated"), {"schemas": list(SCHEMAS)}).fetchall()


def analyze(warehouse: Warehouse, schema: str, table: str) -> None:
    """Analyze a table, and its partitions."""
    warehouse.execute(SQL("analyze {}").format(Identifier(schema, table)))
