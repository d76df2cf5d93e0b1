"""Cursors: how far each feed was loaded; they move in the transaction that loads the rows, or not at all.

All functions but `ageing` and `reread` work on `incoming_cursors`, see `incoming.fill_moves`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from psycopg.rows import scalar_row

from etl.db.connection import Warehouse
from etl.db.statements import statement


def lock(warehouse: Warehouse, *, feed: str) -> None:
    """Keep every other load of the batch's accounts out until the transaction ends."""
    warehouse.execute(statement("sync/cursors", "open"), {"feed": feed})
    warehouse.execute(statement("sync/cursors", "lock"), {"feed": feed})


def fence(warehouse: Warehouse, *, feed: str, raw_id: int) -> dict[int, int]:
    """Take the accounts out whose cursor is not where the batch found it; return how many rows went with each."""
    return dict(warehouse.execute(statement("sync/cursors", "fence"), {"feed": feed, "raw_id": raw_id}).fetchall())


def fence_again(warehouse: Warehouse, *, raw_id: int) -> dict[int, int]:
    """Take the accounts out that `fence` took out when the batch was first loaded, and return the same."""
    return dict(warehouse.execute(statement("sync/cursors", "fence_again"), {"raw_id": raw_id}).fetchall())


def keep_order(warehouse: Warehouse, *, feed: str, raw_id: int, earliest: datetime | None) -> None:
    """Let no record of the batch count as older than what the batches before it brought, whatever the clocks said.

    Parameters
    ----------
    earliest
        When the first of its records was observed; None if it has none.
    """
    values = {"feed": feed, "raw_id": raw_id, "earliest": earliest}
    warehouse.execute(statement("sync/cursors", "keep_order"), values)


def keep_order_again(warehouse: Warehouse, *, raw_id: int) -> None:
    """Let each record count as late as `keep_order` had it when the batch was first loaded."""
    warehouse.execute(statement("sync/cursors", "keep_order_again"), {"raw_id": raw_id})


def observe(warehouse: Warehouse, *, feed: str) -> None:
    """Remember how far a window that changed rows has observed the accounts, without moving their cursors."""
    warehouse.execute(statement("sync/cursors", "observe"), {"feed": feed})


def advance(warehouse: Warehouse, *, feed: str, raw_id: int) -> None:
    """Move the cursors to where the batch leaves them."""
    warehouse.execute(statement("sync/cursors", "advance"), {"feed": feed, "raw_id": raw_id})


def reread(warehouse: Warehouse, provider_account_ids: Collection[int], *, feeds: Collection[str]) -> list[int]:
    """Let the next downloads read feeds of some accounts from their beginning; return those that have cursors."""
    values = {"provider_account_ids": list(provider_account_ids), "feeds": list(feeds)}
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("sync/cursors", "reread"), values).fetchall()


def ageing(warehouse: Warehouse, *, feed: str, age: timedelta) -> int:
    """Return how many cursors of active accounts have stood where they are for longer than `age`."""
    return _count(warehouse, "ageing", {"feed": feed, "age": age})


def _count(warehouse: Warehouse, name: str, values: Mapping[str, object]) -> int:
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        (rows,) = cursor.execute(statement("sync/cursors", name), values).fetchall()
    return int(rows)
