"""An item's ledger: the events of its transactions, day by day.

A later day only appends events. Each event holds the days of the first and of the next event of its transaction, so
that the net changes between two days follow from the events of the days in between alone.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from enum import Enum
from typing import Protocol

from msgspec import Struct

from dev.bank.world.items import Item
from dev.bank.world.transactions import Transaction

ONE_DAY = timedelta(days=1)

MAX_TRANSACTION_LIFETIME = timedelta(days=14)
"""Longest time between the first and the last event of one transaction."""


class Change(Enum):
    """How an event changes the list of transactions; the value is Plaid's name of the list that it is sent in."""

    ADDED = "added"
    MODIFIED = "modified"
    REMOVED = "removed"


class Event(Struct, frozen=True):
    """One change to an item's transactions. A transaction has at most one a day.

    Parameters
    ----------
    transaction
        The transaction after the event; for a removal, before it.
    pending_id
        Id of the pending transaction that this one replaces.
    added_on
        Day on which the transaction was added.
    superseded_on
        Day of the next event of the same transaction; None if there is none.
    """

    change: Change
    happened_on: date
    transaction: Transaction
    transaction_id: str
    added_on: date
    superseded_on: date | None = None
    pending_id: str | None = None

    @property
    def outflow(self) -> int:
        """Minor units that the event adds to the outflow of its account: pending if the transaction is, else posted."""
        if self.change is Change.MODIFIED:
            return 0
        return -self.transaction.amount_minor if self.change is Change.REMOVED else self.transaction.amount_minor


DayEvents = tuple[date, Sequence[Event]]
"""A day and its events in order."""


class Ledger(Protocol):
    """All events of one item."""

    @property
    def item(self) -> Item:
        """The item that the ledger belongs to."""
        ...

    @property
    def first_day(self) -> date:
        """Day before which there are no events."""
        ...

    def days(self, first: date, last: date) -> Iterator[DayEvents]:
        """Yield each day from `first` to `last` that has events, with all of them in order; repeatable."""
        ...


def subtract_clamped(day: date, duration: timedelta) -> date:
    """Return the day `duration` before `day`, but not before the first day of the calendar."""
    return date.fromordinal(max(1, day.toordinal() - duration.days))


def add_clamped(day: date, duration: timedelta) -> date:
    """Return the day `duration` after `day`, but not after the last day of the calendar."""
    return date.fromordinal(min(date.max.toordinal(), day.toordinal() + duration.days))
