"""Cursors: how far each feed was loaded; they move in the transaction that loads the rows, or not at all.

All functions but `ageing` work on `incoming_cursors`, see `incoming.fill_moves`.
"""

from datetime import timedelta

from psycopg.rows import scalar_row, tuple_row

from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse


def lock(warehouse: Warehouse, *, feed: str) -> None:
    """Keep every other load of the batch's accounts out until the transaction ends."""
    warehouse.execute(statement("stores/cursors", "open"), {"feed": feed})
    warehouse.execute(statement("stores/cursors", "lock"), {"feed": feed})


def fence(warehouse: Warehouse, *, feed: str) -> tuple[int, int]:
    """Take the accounts out whose cursor is not where the batch found it.

    Returns
    -------
    tuple of int
        Accounts, and rows, that were taken out.
    """
    with warehouse.cursor(row_factory=tuple_row) as cursor:
        ((accounts, rows),) = cursor.execute(statement("stores/cursors", "fence"), {"feed": feed}).fetchall()
    return accounts, rows


def keep_order(warehouse: Warehouse, *, feed: str) -> None:
    """Let no record of the batch count as older than what the batches before it brought, whatever the clocks said."""
    warehouse.execute(statement("stores/cursors", "keep_order"), {"feed": feed})


def observe(warehouse: Warehouse, *, feed: str) -> None:
    """Remember how far a window has observed the accounts, without moving their cursors."""
    warehouse.execute(statement("stores/cursors", "observe"), {"feed": feed})


def advance(warehouse: Warehouse, *, feed: str, raw_id: int) -> None:
    """Move the cursors to where the batch leaves them."""
    warehouse.execute(statement("stores/cursors", "advance"), {"feed": feed, "raw_id": raw_id})


def ageing(warehouse: Warehouse, *, feed: str, age: timedelta) -> int:
    """Return how many cursors of active accounts have stood where they are for longer than `age`."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        (count,) = cursor.execute(statement("stores/cursors", "ageing"), {"feed": feed, "age": age}).fetchall()
    return int(count)
