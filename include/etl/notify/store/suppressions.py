"""Addresses that get nothing of any notice; the list is read again before each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.channel import Channel


@dataclass(frozen=True)
class Suppression:
    """An address that gets nothing.

    Parameters
    ----------
    address
        In lower case, if it is an e-mail address.
    channel
        Name of its medium.
    reason
        Why, in a word or some.
    since
        Since when.
    """

    address: str = field(repr=False)
    channel: str
    reason: str
    since: datetime


@dataclass(frozen=True)
class SuppressionCount:
    """How many addresses of a channel get nothing for one reason."""

    channel: str
    reason: str
    addresses: int


@dataclass(frozen=True)
class SuppressionFilter:
    """Which suppressions are meant; None narrows nothing.

    Parameters
    ----------
    channel
        Name of a medium.
    reason
        As it was given.
    address
        However it is written.
    """

    channel: str | None = None
    reason: str | None = None
    address: str | None = field(default=None, repr=False)


def add(db: Connection, channel: Channel, entries: Sequence[tuple[str, str]]) -> int:
    """Suppress addresses, and return how many were not suppressed before; those keep their reason.

    Parameters
    ----------
    entries
        Addresses, and why.
    """
    values = {
        "channel": channel.name,
        "addresses": [address for address, _ in entries],
        "reasons": [reason for _, reason in entries],
    }
    return db.execute(statement("notify/suppressions", "add"), values).rowcount


def remove(db: Connection, channel: Channel, address: str) -> bool:
    """Let an address get messages again; False if it did."""
    values = {"channel": channel.name, "address": address}
    return bool(db.execute(statement("notify/suppressions", "remove"), values).rowcount)


def find(db: Connection, criteria: SuppressionFilter, *, limit: int) -> list[Suppression]:
    """Return suppressed addresses, the latest first."""
    with db.cursor(row_factory=class_row(Suppression)) as cursor:
        values = {**_filter_parameters(criteria), "limit": limit}
        return cursor.execute(statement("notify/suppressions", "find"), values).fetchall()


def count_by_reason(db: Connection, criteria: SuppressionFilter) -> list[SuppressionCount]:
    """Return how many addresses are suppressed, by channel and reason."""
    with db.cursor(row_factory=class_row(SuppressionCount)) as cursor:
        return cursor.execute(
            statement("notify/suppressions", "count_by_reason"), _filter_parameters(criteria)
        ).fetchall()


def _filter_parameters(criteria: SuppressionFilter) -> dict[str, str | None]:
    return {"channel": criteria.channel, "reason": criteria.reason, "address": criteria.address}
