"""Cursors: how far each feed was loaded; they move in the transaction that loads the rows, or not at all.

All functions but `count_expiring` and `request_full_read` work on `incoming_cursors`, see `incoming.fill_moves`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from psycopg.rows import scalar_row

from etl.db.connection import Connection
from etl.db.statements import statement


def lock(db: Connection, *, feed: str) -> None:
    """Keep every other load of the batch's accounts out until the transaction ends."""
    db.execute(statement("sync/cursors", "create_missing"), {"feed": feed})
    db.execute(statement("sync/cursors", "lock"), {"feed": feed})


def drop_stale_accounts(db: Connection, *, feed: str, raw_id: int) -> dict[int, int]:
    """Take the accounts out whose cursor is not where the batch found it; return how many rows went with each."""
    return dict(
        db.execute(statement("sync/cursors", "drop_stale_accounts"), {"feed": feed, "raw_id": raw_id}).fetchall()
    )


def drop_recorded_stale_accounts(db: Connection, *, raw_id: int) -> dict[int, int]:
    """Drop the accounts that `drop_stale_accounts` dropped on the first load, and return the same."""
    return dict(db.execute(statement("sync/cursors", "drop_recorded_stale_accounts"), {"raw_id": raw_id}).fetchall())


def clamp_timestamps(db: Connection, *, feed: str, raw_id: int, earliest_observed_at: datetime | None) -> None:
    """Let no record of the batch count as older than what the batches before it brought, whatever the clocks said.

    Parameters
    ----------
    earliest_observed_at
        When the first of its records was observed; None if it has none.
    """
    values = {"feed": feed, "raw_id": raw_id, "earliest": earliest_observed_at}
    db.execute(statement("sync/cursors", "clamp_timestamps"), values)


def reapply_clamped_timestamps(db: Connection, *, raw_id: int) -> None:
    """Let each record count as late as `clamp_timestamps` had it when the batch was first loaded."""
    db.execute(statement("sync/cursors", "reapply_clamped_timestamps"), {"raw_id": raw_id})


def record_observation(db: Connection, *, feed: str) -> None:
    """Remember how far a window that changed rows has observed the accounts, without moving their cursors."""
    db.execute(statement("sync/cursors", "record_observation"), {"feed": feed})


def advance(db: Connection, *, feed: str, raw_id: int) -> None:
    """Move the cursors to where the batch leaves them."""
    db.execute(statement("sync/cursors", "advance"), {"feed": feed, "raw_id": raw_id})


def request_full_read(db: Connection, provider_account_ids: Collection[int], *, feeds: Collection[str]) -> list[int]:
    """Let the next downloads read feeds of some accounts from their beginning; return those that have cursors."""
    values = {"provider_account_ids": list(provider_account_ids), "feeds": list(feeds)}
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("sync/cursors", "request_full_read"), values).fetchall()


def count_expiring(db: Connection, *, feed: str, min_age: timedelta) -> int:
    """Return how many cursors of active accounts have stood where they are for longer than `min_age`."""
    return _count(db, "count_expiring", {"feed": feed, "age": min_age})


def _count(db: Connection, statement_name: str, values: Mapping[str, object]) -> int:
    with db.cursor(row_factory=scalar_row) as cursor:
        (rows,) = cursor.execute(statement("sync/cursors", statement_name), values).fetchall()
    return int(rows)
