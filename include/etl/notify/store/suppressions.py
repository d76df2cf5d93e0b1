"""Suppressed addresses, which get no messages of any notice; they are read again before each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.declare.channel import Channel

_SQL = StatementFile("notify/suppressions")


@dataclass(frozen=True)
class Suppression:
    """A suppressed address.

    Parameters
    ----------
    address
        In lower case, if it is an e-mail address.
    channel
        Name of its channel.
    reason
        Why it is suppressed, in a few words.
    since
        When it was suppressed.
    """

    address: str = field(repr=False)
    channel: str
    reason: str
    since: datetime


@dataclass(frozen=True)
class SuppressionCount:
    """Number of addresses of a channel that are suppressed for one reason."""

    channel: str
    reason: str
    addresses: int


@dataclass(frozen=True)
class SuppressionFilter:
    """Criteria for suppressions; None matches all.

    Parameters
    ----------
    channel
        Name of a channel.
    reason
        Exact reason.
    address
        Address; the case of an e-mail address does not matter.
    """

    channel: str | None = None
    reason: str | None = None
    address: str | None = field(default=None, repr=False)


def add(db: Connection, channel: Channel, entries: Sequence[tuple[str, str]]) -> int:
    """Suppress addresses, and return how many were not suppressed before; the others keep their reason.

    Parameters
    ----------
    entries
        Pairs of address and reason.
    """
    values = {
        "channel": channel.name,
        "addresses": [address for address, _ in entries],
        "reasons": [reason for _, reason in entries],
    }
    return _SQL["add"].run(db, values)


def remove(db: Connection, channel: Channel, address: str) -> bool:
    """Remove the suppression of an address; return False if there is none."""
    return bool(_SQL["remove"].run(db, {"channel": channel.name, "address": address}))


def find(db: Connection, criteria: SuppressionFilter, *, limit: int) -> list[Suppression]:
    """Return suppressed addresses, the latest first."""
    return _SQL["find"].objects(db, Suppression, {**_filter_parameters(criteria), "limit": limit})


def count_by_reason(db: Connection, criteria: SuppressionFilter) -> list[SuppressionCount]:
    """Return how many addresses are suppressed, by channel and reason."""
    return _SQL["count_by_reason"].objects(db, SuppressionCount, _filter_parameters(criteria))


def _filter_parameters(criteria: SuppressionFilter) -> dict[str, str | None]:
    return {"channel": criteria.channel, "reason": criteria.reason, "address": criteria.address}
