"""What a warehouse must hold of a login, whatever happened on the way: computed from the ledger alone.

A version of a transaction that cannot be loaded must be an open reject, and the row of an earlier version must stay.
Which one depends on what its reader has seen; the truth names all that it may be.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Self

from dev.bank.bank import Bank
from dev.bank.feed import cursors, feed
from dev.bank.feed.cursors import CursorInvalid, Stream
from dev.bank.hostile import flaws
from dev.bank.hostile.readers import ANCIENT_RECORD, SHORT_HISTORY
from dev.bank.truth import rows
from dev.bank.truth.rows import Row
from dev.bank.world import ids
from dev.bank.world.items import Item
from dev.bank.world.ledger import Change, DayEvents, Event, Ledger

POSTED = frozenset({"posted"})
UNPOSTED = frozenset({"withdrawn", "absent"})


@dataclass(frozen=True, slots=True)
class TransactionTruth:
    """What a warehouse must hold of one transaction.

    Parameters
    ----------
    is_live
        Whether the bank has it today.
    row
        Its row today; None if its record cannot be loaded, or if it is not live.
    earlier_rows
        Rows of its earlier versions that could be loaded.
    endings
        What may have ended a row of it that is not live any more.
    posted_id
        Id of the transaction that was posted in its place; None if none was.
    may_stay
        Whether its row may be live although the bank has it no more: its removal fell to a read from the beginning,
        which reports no removals, and which did not cover its day.
    was_rejected
        Whether any version of it cannot be loaded.
    """

    is_live: bool
    row: Row | None
    earlier_rows: tuple[Row, ...]
    endings: frozenset[str]
    posted_id: str | None
    may_stay: bool
    was_rejected: bool

    @property
    def must_be_rejected(self) -> bool:
        """Whether its record of today cannot be loaded."""
        return self.is_live and self.row is None


@dataclass(frozen=True, slots=True)
class AccountTruth:
    """What a warehouse must hold of one account: its row, unless the bank does not list it or its record is bad."""

    row: Row
    is_listed: bool
    is_loadable: bool


@dataclass(frozen=True, slots=True)
class LoginTruth:
    """What a warehouse must hold of one login.

    Parameters
    ----------
    accounts, transactions
        By id.
    unreal_ids
        Ids of records that the bank may have sent, although no ledger holds them.
    """

    number: int
    accounts: dict[str, AccountTruth]
    transactions: dict[str, TransactionTruth]
    unreal_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class KnownLedger:
    """A ledger whose events until a day were read once, since deriving them takes most of a comparison's time."""

    item: Item
    first_day: date
    known_days: tuple[DayEvents, ...]

    @classmethod
    def read(cls, bank: Bank, number: int) -> Self:
        """Return the ledger of item `number` until the bank's current day."""
        ledger = bank.ledger(number)
        return cls(ledger.item, ledger.first_day, tuple(ledger.days(ledger.first_day, bank.today)))

    def days(self, first: date, last: date) -> Iterator[DayEvents]:
        """Yield each day from `first` to `last` that has events, with all of them in order."""
        return (each for each in self.known_days if first <= each[0] <= last)


def of_login(bank: Bank, ledger: Ledger) -> LoginTruth:
    """Return the truth of an item as of the bank's current day."""
    number = ledger.item.number
    return LoginTruth(
        number,
        _accounts(bank, ledger),
        _transactions(bank, ledger),
        frozenset({ids.extra_id(bank.key, number, ANCIENT_RECORD)}),
    )


def is_at_end(bank: Bank, ledger: Ledger, cursor: str) -> bool:
    """Return whether a reader with this cursor has read everything that the feed holds today."""
    try:
        position = cursors.unseal(bank.key, Stream(ledger.item), bank.readers.resolve(ledger.item.number, cursor))
    except CursorInvalid:
        return False
    return not position.is_mid_loop and not feed.read_page(ledger, position, today=bank.today, limit=1).updates


def twins(ledger: Ledger, other: Ledger) -> dict[str, str]:
    """Return the ids of transactions of an item, each with its id in another item of the same accounts."""
    return {
        event.transaction_id: twin.transaction_id
        for (_, events), (_, other_events) in zip(
            ledger.days(ledger.first_day, date.max), other.days(other.first_day, date.max), strict=True
        )
        for event, twin in zip(events, other_events, strict=True)
    }


def versions(bank: Bank, ledger: Ledger) -> dict[str, list[Event]]:
    """Return the events of each transaction until today, in order, by id."""
    events: dict[str, list[Event]] = defaultdict(list)
    for _, day_events in ledger.days(ledger.first_day, bank.today):
        for event in day_events:
            events[event.transaction_id].append(event)
    return events


def count_bad(bank: Bank, ledger: Ledger, *, on: date) -> tuple[int, int]:
    """Return how many of the transactions that an item has on a day cannot be loaded, and how many it has."""
    current = [event for history in versions(bank, ledger).values() if (event := _current_on(on, history))]
    return sum(not flaws.is_loadable(bank.flaws_of(ledger.item, event)) for event in current), len(current)


def _current_on(day: date, history: list[Event]) -> Event | None:
    """Return what a transaction was on a day; None if the bank did not have it."""
    event = next((event for event in reversed(history) if event.happened_on <= day), None)
    return None if event is None or event.change is Change.REMOVED else event


def _accounts(bank: Bank, ledger: Ledger) -> dict[str, AccountTruth]:
    account_rows = rows.account_rows(bank, ledger)
    return {
        account.account_id: AccountTruth(
            account_rows[account.account_id],
            is_listed=bank.lists_account(ledger.item, account),
            is_loadable=not bank.flaws_of_account(ledger.item, account),
        )
        for account in ledger.item.accounts
    }


def _transactions(bank: Bank, ledger: Ledger) -> dict[str, TransactionTruth]:
    events = versions(bank, ledger)
    posted_by_pending = {each[0].pending_id: each for each in events.values() if each[0].pending_id}
    truth: dict[str, TransactionTruth] = {}
    for identity, history in events.items():
        version_rows = [rows.transaction_row(bank, ledger.item, each) for each in history]
        is_live = history[-1].change is not Change.REMOVED
        held = version_rows if is_live else version_rows[:-1]
        posted = posted_by_pending.get(identity)
        truth[identity] = TransactionTruth(
            is_live,
            held[-1] if is_live else None,
            tuple(row for row in (held[:-1] if is_live else held) if row is not None),
            frozenset() if is_live else _endings(bank, ledger, history[-1], posted),
            posted[0].transaction_id if posted else None,
            may_stay=not is_live and _may_stay(bank, ledger.item, history, events.values()),
            was_rejected=any(row is None for row in held),
        )
    return truth


def _endings(bank: Bank, ledger: Ledger, removal: Event, posted: list[Event] | None) -> frozenset[str]:
    """Return what may have ended a row that was removed, from the events of its posted transaction."""
    if posted is None:
        return UNPOSTED
    *earlier, is_loadable = (flaws.is_loadable(bank.flaws_of(ledger.item, each)) for each in posted)
    if posted[-1].change is Change.REMOVED:
        return POSTED | UNPOSTED
    if is_loadable:
        return POSTED
    is_late = posted[0].happened_on > removal.happened_on
    return (POSTED if any(earlier) else frozenset()) | (UNPOSTED if is_late else frozenset())


def _may_stay(bank: Bank, item: Item, history: list[Event], others: Iterable[list[Event]]) -> bool:
    """Return whether a read from the beginning absorbed the end of a transaction without covering its day.

    A read covers the days that are promised, and of each account those since the oldest record that it brought.
    """
    *_, last, removal = history
    return any(
        removal.happened_on <= day
        and (last.transaction.posted_at.date() < day - SHORT_HISTORY or not _has_older(bank, item, last, others, day))
        for day in bank.readers.read_again_on.get(item.number, ())
    )


def _has_older(bank: Bank, item: Item, last: Event, histories: Iterable[list[Event]], day: date) -> bool:
    """Return whether every full read on a day had a record of an account as early as one of its other transactions."""
    account, dated = last.transaction.account, last.transaction.posted_at.date()
    current = (_current_on(day, history) for history in histories)
    return any(
        event is not None
        and event.transaction.account.ordinal == account.ordinal
        and day - SHORT_HISTORY <= event.transaction.posted_at.date() <= dated
        and flaws.is_loadable(bank.flaws_of(item, event))
        for event in current
    )
