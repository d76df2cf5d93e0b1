"""Cursors: how far each feed was loaded. A cursor moves only in the transaction that loads the rows.

All functions but `lock_of`, `left_out`, `find_expiring` and `request_full_read` work on `incoming_cursors`; see
`staging.fill_cursor_moves`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.db.tables.layout import core_table
from etl.declare.entity import Entity

_SQL = StatementFile("sync/cursors")


@dataclass(frozen=True)
class ExpiringCursors:
    """Cursors that the provider will soon forget.

    Parameters
    ----------
    cursors
        How many there are.
    first_ids
        Provider account ids of the first few.
    """

    cursors: int
    first_ids: list[int]


def lock(db: Connection, *, feed: str) -> None:
    """Exclude every other load of the batch's accounts, and of those that they replace, until the transaction ends."""
    _SQL["create_missing"].run(db, {"feed": feed})
    _SQL["lock"].run(db, {"feed": feed})


def lock_of(db: Connection, provider_account_id: int, *, feed: str) -> None:
    """Exclude every load of one account until the transaction ends."""
    _SQL["lock_of"].run(db, {"provider_account_id": provider_account_id, "feed": feed})


def drop_stale(db: Connection, *, feed: str, raw_id: int) -> set[int]:
    """Drop the logins of which another batch was loaded since this one was downloaded, and return them.

    They are recorded, so that later loads of the batch leave them out too; see `left_out`.
    """
    return set(_SQL["drop_stale"].scalars(db, {"feed": feed, "raw_id": raw_id}))


def find_new(db: Connection, entity: Entity, *, feed: str) -> list[int]:
    """Return the logins of which nothing is known yet; their cursors must be locked."""
    query = Statement(_SQL["find_new"].format(table=core_table(entity)).as_string(None))
    return query.scalars(db, {"feed": feed, "entity": entity.name})


def record_copied(db: Connection, last_observed: Mapping[int, datetime]) -> None:
    """Record when the last row was observed of each login whose rows were copied into the core table at once."""
    values = {"provider_account_ids": list(last_observed), "observed_at": list(last_observed.values())}
    _SQL["record_copied"].run(db, values)


def drop(db: Connection, provider_account_ids: Collection[int]) -> None:
    """Take logins out of the batch."""
    _SQL["drop"].run(db, {"provider_account_ids": list(provider_account_ids)})


def left_out(db: Connection, *, raw_id: int) -> dict[int, str]:
    """Return the logins that were left out when a batch was loaded: provider account → `stale` or `quarantined`."""
    return dict(_SQL["left_out"].rows(db, {"raw_id": raw_id}))


def clamp_timestamps(db: Connection, *, feed: str, raw_id: int, earliest_observed_at: datetime | None) -> None:
    """Raise `observed_at` of each record to at least the latest that earlier batches of its account brought.

    The clocks of workers differ, but the order of the cursors is certain. Corrections are recorded for later loads.

    Parameters
    ----------
    earliest_observed_at
        The earliest `observed_at` of the batch's records; None if it has none.
    """
    values = {"feed": feed, "raw_id": raw_id, "earliest_observed_at": earliest_observed_at}
    _SQL["clamp_timestamps"].run(db, values)


def reapply_clamped_timestamps(db: Connection, *, raw_id: int) -> None:
    """Apply the same timestamp corrections as on the first load of the batch."""
    _SQL["reapply_clamped_timestamps"].run(db, {"raw_id": raw_id})


def record_observation(db: Connection, *, feed: str) -> None:
    """Record when a window that changed rows observed its accounts; their cursors do not move."""
    _SQL["record_observation"].run(db, {"feed": feed})


def advance(db: Connection, *, feed: str, raw_id: int) -> None:
    """Move the cursors to the end of the batch; those of which nothing changed keep their generation."""
    _SQL["advance"].run(db, {"feed": feed, "raw_id": raw_id})


def request_full_read(db: Connection, provider_account_ids: Collection[int], *, feeds: Collection[str]) -> list[int]:
    """Make the next downloads read feeds of some accounts from their beginning; return the accounts with cursors."""
    values = {"provider_account_ids": list(provider_account_ids), "feeds": list(feeds)}
    return _SQL["request_full_read"].scalars(db, values)


def find_expiring(db: Connection, *, feed: str, min_age: timedelta, examples: int) -> ExpiringCursors:
    """Return the cursors that have not moved for longer than `min_age`, of logins that are asked now or later.

    Parameters
    ----------
    examples
        Most logins to name.
    """
    (expiring,) = _SQL["find_expiring"].objects(
        db, ExpiringCursors, {"feed": feed, "min_age": min_age, "examples": examples}
    )
    return expiring
