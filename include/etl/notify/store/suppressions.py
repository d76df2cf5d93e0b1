"""Addresses that get nothing of any notice; the list is read again before each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from etl.db.connection import Warehouse
from etl.db.statements import statement
from etl.declare.channel import Medium


@dataclass(frozen=True)
class Suppressed:
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
class Tally:
    """How many addresses of a channel get nothing for one reason."""

    channel: str
    reason: str
    addresses: int


@dataclass(frozen=True)
class Narrowed:
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


def add(warehouse: Warehouse, medium: Medium, suppressed: Sequence[tuple[str, str]]) -> int:
    """Suppress addresses, and return how many were not suppressed before; those keep their reason.

    Parameters
    ----------
    suppressed
        Addresses, and why.
    """
    values = {
        "channel": medium.name,
        "addresses": [address for address, _ in suppressed],
        "reasons": [reason for _, reason in suppressed],
    }
    return warehouse.execute(statement("notify/suppressions", "add"), values).rowcount


def remove(warehouse: Warehouse, medium: Medium, address: str) -> bool:
    """Let an address get messages again; False if it did."""
    values = {"channel": medium.name, "address": address}
    return bool(warehouse.execute(statement("notify/suppressions", "remove"), values).rowcount)


def find(warehouse: Warehouse, narrowed: Narrowed, *, limit: int) -> list[Suppressed]:
    """Return suppressed addresses, the latest first."""
    with warehouse.cursor(row_factory=class_row(Suppressed)) as cursor:
        values = {**_named(narrowed), "limit": limit}
        return cursor.execute(statement("notify/suppressions", "find"), values).fetchall()


def tally(warehouse: Warehouse, narrowed: Narrowed) -> list[Tally]:
    """Return how many addresses are suppressed, by channel and reason."""
    with warehouse.cursor(row_factory=class_row(Tally)) as cursor:
        return cursor.execute(statement("notify/suppressions", "tally"), _named(narrowed)).fetchall()


def _named(narrowed: Narrowed) -> dict[str, str | None]:
    return {"channel": narrowed.channel, "reason": narrowed.reason, "address": narrowed.address}
