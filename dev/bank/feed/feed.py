"""An item's ledger as a feed: pages of the changes that a reader has not seen, from any position on.

A reader reads in loops of pages. As in Plaid's feed, a loop returns net changes: of each transaction only its last
event before the end of the loop, as an addition if the reader never saw the transaction, and nothing if it was added
and removed in between. A loop ends where the ledger ended when the loop began, so that its pages are consistent even if
the ledger grows meanwhile.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple, Self

from dev.bank.world.accounts import Account
from dev.bank.world.ledger import Change, DayEvents, Event, Ledger


class EventOffset(NamedTuple):
    """The place in a ledger before event `number`, 0-based, of `day`."""

    day: date
    number: int


@dataclass(frozen=True, slots=True)
class Outflows:
    """Minor units that have left each account, posted and pending; negative if more came in."""

    posted: tuple[int, ...]
    pending: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a reader in a feed.

    Parameters
    ----------
    loop_start
        Where its loop began: the reader has seen everything before.
    next_event
        The next event to read.
    loop_end
        Where its loop ends. Between two loops, all three offsets are equal.
    outflows
        Outflows up to `loop_end`, so that balances need not be summed up from the first day.
    """

    loop_start: EventOffset
    next_event: EventOffset
    loop_end: EventOffset
    outflows: Outflows

    @classmethod
    def between_loops(cls, offset: EventOffset, outflows: Outflows) -> Self:
        """Return the position of a reader that has seen everything before `offset`."""
        return cls(offset, offset, offset, outflows)

    @property
    def is_mid_loop(self) -> bool:
        """Whether a loop has begun but not ended."""
        return self.loop_start != self.loop_end


@dataclass(frozen=True, slots=True)
class Update:
    """An event, and the change that it is to a reader."""

    change: Change
    event: Event


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page of updates in order.

    Parameters
    ----------
    next_position
        Where the next page starts. A loop without updates does not move it.
    outflows
        Up to the end of the loop, not of this page.
    next_update
        First update of the next page of the loop.
    has_more
        Whether the next page has an update as of today.
    """

    updates: tuple[Update, ...]
    next_position: Position
    outflows: Outflows
    next_update: Update | None = None
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """In minor units: `current` is held, or owed on a credit card; `available` can be spent. None if unknown."""

    current: int | None
    available: int | None


UNKNOWN_BALANCE = Balance(current=None, available=None)


def start_position(ledger: Ledger) -> Position:
    """Return the position before the first event."""
    zeros = (0,) * len(ledger.item.accounts) if ledger.item.has_balances else ()
    return Position.between_loops(EventOffset(ledger.first_day, 0), Outflows(zeros, zeros))


def end_position(ledger: Ledger, position: Position, *, today: date) -> Position:
    """Return the position after the last event of `today`, for a reader between two loops at `position`."""
    loop, _ = _begin_loop(ledger, position, today)
    return Position.between_loops(loop.loop_end, loop.outflows)


def read_page(
    ledger: Ledger, position: Position, *, today: date, limit: int, account: Account | None = None
) -> FeedPage:
    """Return a page of at most `limit` updates (1 or more) from `position` on; of one account only, if given."""
    loop, days = position, ledger.days(position.next_event.day, position.loop_end.day)
    if not position.is_mid_loop:
        loop, days = _begin_loop(ledger, position, today)
    updates: list[Update] = []
    for offset, update in _visible_updates(days, loop, account):
        if len(updates) == limit:
            return FeedPage(tuple(updates), replace(loop, next_event=offset), loop.outflows, update, has_more=True)
        updates.append(update)
    end = Position.between_loops(loop.loop_end, loop.outflows)
    if not updates:
        return FeedPage((), end if position.is_mid_loop else position, loop.outflows)
    has_more = position.is_mid_loop and bool(read_page(ledger, end, today=today, limit=1, account=account).updates)
    return FeedPage(tuple(updates), end, loop.outflows, has_more=has_more)


def compute_balance(account: Account, outflows: Outflows) -> Balance:
    """Return the balance of `account`; pending transactions change `available`, not `current`."""
    if account.opening_balance is None:
        return UNKNOWN_BALANCE
    posted, pending = outflows.posted[account.ordinal], outflows.pending[account.ordinal]
    if account.credit_limit is None:
        current = account.opening_balance - posted
        return Balance(current, current - pending)
    owed = account.opening_balance + posted
    return Balance(owed, account.credit_limit - owed - pending)


def _begin_loop(ledger: Ledger, position: Position, today: date) -> tuple[Position, Iterator[DayEvents]]:
    start = position.next_event
    if not ledger.item.has_balances:
        stop = max(start, _end_of_day(ledger.days(today, today), today))
        return replace(position, loop_end=stop), ledger.days(start.day, today)
    days = list(ledger.days(start.day, today))
    stop = max(start, _end_of_day(days[-1:], today))
    posted, pending = list(position.outflows.posted), list(position.outflows.pending)
    for _, event in _events_between(days, start, stop):
        sums = pending if event.transaction.pending else posted
        sums[event.transaction.account.ordinal] += event.outflow
    return replace(position, loop_end=stop, outflows=Outflows(tuple(posted), tuple(pending))), iter(days)


def _end_of_day(days: Iterable[DayEvents], today: date) -> EventOffset:
    return EventOffset(today, next((len(events) for day, events in days if day == today), 0))


def _visible_updates(
    days: Iterable[DayEvents], loop: Position, account: Account | None
) -> Iterator[tuple[EventOffset, Update]]:
    for offset, event in _events_between(days, loop.next_event, loop.loop_end):
        if account is not None and event.transaction.account.ordinal != account.ordinal:
            continue
        change = _change_for_reader(event, loop)
        if change is not None:
            yield offset, Update(change, event)


def _change_for_reader(event: Event, loop: Position) -> Change | None:
    if event.superseded_on is not None and event.superseded_on <= loop.loop_end.day:
        return None
    was_seen = event.added_on < loop.loop_start.day or (
        event.added_on == loop.loop_start.day and loop.loop_start.number > 0
    )
    if was_seen:
        return event.change
    return None if event.change is Change.REMOVED else Change.ADDED


def _events_between(
    days: Iterable[DayEvents], start: EventOffset, stop: EventOffset
) -> Iterator[tuple[EventOffset, Event]]:
    for day, events in days:
        first = start.number if day == start.day else 0
        last = stop.number if day == stop.day else len(events)
        for index in range(first, last):
            yield EventOffset(day, index), events[index]
