"""An item's ledger: a sequence of events, day after day, that a reader walks from a position.

A later day only appends. A position names the next event to read and carries what had moved on each account before
it, so that balances follow from the events still to come and no page is counted from the first day.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from msgspec import Struct

from dev.bank.accounts import Account
from dev.bank.transactions import Transaction

ONE_DAY = timedelta(days=1)


class Change(Enum):
    """What an event does to the list of transactions."""

    ADDED = "added"


class Event(Struct, frozen=True):
    """One change to an item's transactions."""

    change: Change
    transaction: Transaction

    @property
    def moved(self) -> int:
        """Minor units by which the event raises what has left its account."""
        return self.transaction.minor


Days = Callable[[date], Sequence[Event]]
"""The events of a day: the same ones whenever they are asked for."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands: before event `index`, 0-based, of `day`.

    `moved` is minor units that have left each account by then, negative if more came in.
    """

    day: date
    index: int
    moved: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some events in order.

    Parameters
    ----------
    after
        Where the next page starts.
    moved
        Minor units that have left each account by the ledger's end, not only by this page's.
    has_more
        Whether the next page would hold an event today.
    """

    events: tuple[Event, ...]
    after: Position
    moved: tuple[int, ...]
    has_more: bool


def walk(days: Days, position: Position, *, today: date) -> Iterator[tuple[date, int, Event]]:
    """Yield each event from `position` to the end of `today`, after its day and its index."""
    day, skipped = position.day, position.index
    while day <= today:
        for index, event in enumerate(days(day)[skipped:], start=skipped):
            yield day, index, event
        day, skipped = day + ONE_DAY, 0


def read_page(days: Days, position: Position, *, today: date, limit: int, account: Account | None = None) -> Page:
    """Return the first `limit` events, at least 1, from `position` on; of one account only, if given."""
    events: list[Event] = []
    moved = list(position.moved)
    after = position
    has_more = False
    for day, index, event in walk(days, position, today=today):
        of = event.transaction.account
        wanted = account is None or of.ordinal == account.ordinal
        moved[of.ordinal] += event.moved
        if wanted and len(events) < limit:
            events.append(event)
            after = Position(day, index + 1, tuple(moved))
        elif wanted:
            has_more = True
    return Page(tuple(events), after, tuple(moved), has_more)
