"""An item's ledger as a feed: pages of what a reader has missed, from any position on.

As the provider tells it, a reader gets the outcome and not the story: of each transaction only its last event until
the end of the loop, as an addition if the reader never had it, and nothing at all if it came and went in between. A
loop ends where the ledger ended when the loop began, so that its pages fit together whatever happens meanwhile.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple, Self

from dev.bank.world.accounts import Account
from dev.bank.world.ledger import Change, Day, Event, Ledger


class Place(NamedTuple):
    """Before event `number`, 0-based, of `day`."""

    day: date
    number: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Minor units that have left each account, and that are about to; negative if more came in."""

    posted: tuple[int, ...]
    pending: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands.

    Parameters
    ----------
    since
        Where its loop began: it has all that happened before.
    place
        Of the next event to look at.
    until
        Where its loop ends. Between two loops, all three places are the same.
    moved
        What had moved by `until`, so that balances need not be counted from the first day.
    """

    since: Place
    place: Place
    until: Place
    moved: Moved

    @classmethod
    def between_loops(cls, place: Place, moved: Moved) -> Self:
        """Return the position of a reader that has all that happened before `place`."""
        return cls(place, place, place, moved)

    @property
    def midway(self) -> bool:
        """Whether a loop has begun and not ended."""
        return self.since != self.until


@dataclass(frozen=True, slots=True)
class Update:
    """An event as a reader gets to know it."""

    change: Change
    event: Event


@dataclass(frozen=True, slots=True)
class Page:
    """Some updates in order.

    Parameters
    ----------
    after
        Where the next page starts; where this one did if there is nothing to tell.
    moved
        By the end of the loop, not only of this page.
    following
        First update of the next page of the loop.
    has_more
        Whether the next page would hold an update today.
    """

    updates: tuple[Update, ...]
    after: Position
    moved: Moved
    following: Update | None = None
    has_more: bool = False


def beginning(ledger: Ledger) -> Position:
    """Return the position before the first event."""
    nothing = (0,) * len(ledger.item.accounts) if ledger.item.balanced else ()
    return Position.between_loops(Place(ledger.first_day, 0), Moved(nothing, nothing))


def end(ledger: Ledger, position: Position, *, today: date) -> Position:
    """Return the position after the last event of `today`, for a reader between two loops at `position`."""
    loop, _ = _begin(ledger, position, today)
    return Position.between_loops(loop.until, loop.moved)


def read(ledger: Ledger, position: Position, *, today: date, limit: int, account: Account | None = None) -> Page:
    """Return the next `limit` updates, at least 1, from `position` on; of one account only, if given."""
    loop, days = position, ledger.days(position.place.day, position.until.day)
    if not position.midway:
        loop, days = _begin(ledger, position, today)
    updates: list[Update] = []
    for place, update in _told(days, loop, account):
        if len(updates) == limit:
            return Page(tuple(updates), replace(loop, place=place), loop.moved, update, has_more=True)
        updates.append(update)
    ended = Position.between_loops(loop.until, loop.moved)
    if not updates:
        return Page((), ended if position.midway else position, loop.moved)
    grown = position.midway and bool(read(ledger, ended, today=today, limit=1, account=account).updates)
    return Page(tuple(updates), ended, loop.moved, has_more=grown)


def _begin(ledger: Ledger, position: Position, today: date) -> tuple[Position, Iterator[Day]]:
    start = position.place
    if not ledger.item.balanced:
        stop = max(start, _close(ledger.days(today, today), today))
        return replace(position, until=stop), ledger.days(start.day, today)
    days = list(ledger.days(start.day, today))
    stop = max(start, _close(days[-1:], today))
    posted, pending = list(position.moved.posted), list(position.moved.pending)
    for _, event in _walk(days, start, stop):
        sums = pending if event.transaction.pending else posted
        sums[event.transaction.account.ordinal] += event.moved
    return replace(position, until=stop, moved=Moved(tuple(posted), tuple(pending))), iter(days)


def _close(days: Iterable[Day], today: date) -> Place:
    return Place(today, next((len(events) for day, events in days if day == today), 0))


def _told(days: Iterable[Day], loop: Position, account: Account | None) -> Iterator[tuple[Place, Update]]:
    for place, event in _walk(days, loop.place, loop.until):
        if account is not None and event.transaction.account.ordinal != account.ordinal:
            continue
        change = _told_as(event, loop)
        if change is not None:
            yield place, Update(change, event)


def _told_as(event: Event, loop: Position) -> Change | None:
    if event.until is not None and event.until <= loop.until.day:
        return None
    known = event.born_on < loop.since.day or (event.born_on == loop.since.day and loop.since.number > 0)
    if known:
        return event.change
    return None if event.change is Change.REMOVED else Change.ADDED


def _walk(days: Iterable[Day], start: Place, stop: Place) -> Iterator[tuple[Place, Event]]:
    for day, events in days:
        first = start.number if day == start.day else 0
        last = stop.number if day == stop.day else len(events)
        for index in range(first, last):
            yield Place(day, index), events[index]


@dataclass(frozen=True, slots=True)
class Balance:
    """Minor units: held, or owed on a credit card, and free to be spent. None where nobody knows."""

    current: int | None
    available: int | None


UNKNOWN = Balance(current=None, available=None)


def balance(account: Account, moved: Moved) -> Balance:
    """Return what `account` holds; pending transactions lessen what is free, not what is held."""
    if account.opening is None:
        return UNKNOWN
    posted, pending = moved.posted[account.ordinal], moved.pending[account.ordinal]
    if account.limit is None:
        held = account.opening - posted
        return Balance(held, held - pending)
    owed = account.opening + posted
    return Balance(owed, account.limit - owed - pending)
