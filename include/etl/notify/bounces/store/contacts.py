"""Addresses of users, and the events that ended and revived them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("notify/bounces/contacts")

BATCH_SIZE = 1_000
"""Addresses that one transaction revives."""


@dataclass(frozen=True)
class Contact:
    """An address of a user.

    Parameters
    ----------
    contact_id
        Its row.
    user_id, user_reference
        Whose it is; the reference is the user's id in the application.
    channel, address
        Where messages go.
    created_at
        When it was added.
    ended_at, ended_for
        Since when and why it is not used any more; None if it is.
    """

    contact_id: int
    user_id: int
    user_reference: str
    channel: str
    address: str = field(repr=False)
    created_at: datetime
    ended_at: datetime | None
    ended_for: str | None


@dataclass(frozen=True)
class ContactEvent:
    """An address was `ended` or `revived`: why, by whom and when."""

    contact_id: int
    event: str
    reason: str
    actor: str
    happened_at: datetime


@dataclass(frozen=True)
class EndedCount:
    """Number of addresses of a channel that ended for one reason."""

    channel: str
    ended_for: str
    addresses: int


@dataclass(frozen=True)
class EndedFilter:
    """Which ended addresses; None matches all.

    Parameters
    ----------
    since, until
        When they ended; `until` is excluded.
    ended_for
        Exact reason for which they ended, such as `550` or `5.1.1`.
    destination
        Mail domain in ASCII, or host of a push service.
    contact_ids
        Only these.
    """

    since: datetime
    until: datetime
    ended_for: str | None = None
    destination: str | None = None
    contact_ids: Collection[int] | None = None


def find(db: Connection, text: str, *, limit: int) -> list[Contact]:
    """Return the addresses of the user with this id in the application, and those that are this mailbox."""
    return _SQL["find"].objects(db, Contact, {"text": text, "limit": limit})


def list_events(db: Connection, contact_ids: Collection[int], *, limit: int) -> list[ContactEvent]:
    """Return the events of addresses, the latest first."""
    return _SQL["list_events"].objects(db, ContactEvent, {"contact_ids": list(contact_ids), "limit": limit})


def end(db: Connection, contact_ids: Collection[int], *, reason: str, actor: str) -> int:
    """End addresses, and return how many had not ended before."""
    return _SQL["end"].run(db, {"contact_ids": list(contact_ids), "reason": reason, "actor": actor})


def count_ended(db: Connection, ended: EndedFilter) -> list[EndedCount]:
    """Return how many addresses would be revived, by channel and reason."""
    return _SQL["count_ended"].objects(db, EndedCount, _parameters(ended))


def revive(db: Connection, ended: EndedFilter, *, reason: str, actor: str) -> Iterator[int]:
    """Use ended addresses again, a page in each transaction, and yield the number of each page."""
    after = 0
    while True:
        values = {**_parameters(ended), "after": after, "limit": BATCH_SIZE, "reason": reason, "actor": actor}
        page = _SQL["revive"].scalars(db, values)
        if not page:
            return
        yield len(page)
        after = max(page)


def _parameters(ended: EndedFilter) -> dict[str, object]:
    contact_ids = None if ended.contact_ids is None else list(ended.contact_ids)
    return {
        "since": ended.since,
        "until": ended.until,
        "ended_for": ended.ended_for,
        "destination": ended.destination,
        "contact_ids": contact_ids,
    }
