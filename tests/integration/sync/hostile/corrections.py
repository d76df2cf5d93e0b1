"""What must have become of the corrections that users made in a history."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from dev.bank.bank import Bank
from dev.bank.truth import login
from dev.bank.truth.login import KnownLedger
from dev.bank.world.ledger import Change, Event
from etl.sync.history.after_merge import MAX_SHIFT

Key = tuple[int, str]
"""Number of an item, or id of a provider account, and id of a transaction."""


@dataclass(frozen=True)
class CorrectedRow:
    """A field of a row that a user corrected."""

    provider_account_id: int
    transaction_id: str
    field: str
    value: str | bool


@dataclass
class ExpectedCorrections:
    """The values that users gave, on every transaction to which they must have been carried.

    Parameters
    ----------
    bank
        The bank at the end of the history.
    current
        Item number of each item that was linked again → that of the login that replaced it.
    held
        The transactions of items that were linked again which are compared with those of the later logins: what was
        posted after the last read of an earlier login is unknown there.
    """

    bank: Bank
    current: Mapping[int, int]
    held: Collection[Key]
    values: dict[Key, dict[str, str | bool]] = field(default_factory=lambda: defaultdict(dict))
    _ledgers: dict[int, KnownLedger] = field(default_factory=dict)
    _versions: dict[int, dict[str, list[Event]]] = field(default_factory=dict)

    def add(self, number: int, corrected: CorrectedRow) -> None:
        """Add a correction of a transaction of an item; it overrides earlier ones of its field."""
        for key in self._reached(number, corrected.transaction_id):
            self.values[key][corrected.field] = corrected.value

    def _reached(self, number: int, transaction_id: str) -> Iterator[Key]:
        """Yield the transaction, those posted in its place, and those that repeat them in a replacing login."""
        for identity in (transaction_id, *self._posted(number, transaction_id)):
            yield number, identity
            is_compared = (number, identity) in self.held or self._is_dated_apart(number, transaction_id, identity)
            if number in self.current and is_compared and self._is_unmistakable(number, identity):
                successor = self.current[number]
                twin = login.twins(self._ledger(number), self._ledger(successor))[identity]
                if self._is_unmistakable(successor, twin):
                    yield from self._reached(successor, twin)

    def _posted(self, number: int, transaction_id: str) -> Iterator[str]:
        for identity, events in self._events(number).items():
            if events[0].pending_id == transaction_id:
                yield identity
                yield from self._posted(number, identity)

    def _is_unmistakable(self, number: int, transaction_id: str) -> bool:
        """Return whether a transaction never changed, was never replaced, and no other one has its day and amount."""
        events = self._events(number)[transaction_id]
        if len(events) > 1 or self.bank.flaws_of(self._ledger(number).item, events[0]):
            return False
        money = Counter(_money(event) for event in self._all_events(number) if event.change is not Change.REMOVED)
        return money[_money(events[0])] == 1

    def _is_dated_apart(self, number: int, held_id: str, posted_id: str) -> bool:
        """Return whether a pending transaction that is compared tells by its amount which one was posted for it.

        No other one of the account may have the amount.
        """
        held, posted = (self._events(number)[each][0] for each in (held_id, posted_id))
        same = [event for event in self._all_events(number) if _money(event)[::2] == _money(held)[::2]]
        return (
            (number, held_id) in self.held
            and {event.transaction_id for event in same} == {held_id, posted_id}
            and posted.transaction.posted_at.date() - held.transaction.posted_at.date() <= MAX_SHIFT
            and not self.bank.flaws_of(self._ledger(number).item, held)
        )

    def _all_events(self, number: int) -> Iterator[Event]:
        return (event for events in self._events(number).values() for event in events)

    def _events(self, number: int) -> dict[str, list[Event]]:
        if number not in self._versions:
            self._versions[number] = login.versions(self.bank, self._ledger(number))
        return self._versions[number]

    def _ledger(self, number: int) -> KnownLedger:
        if number not in self._ledgers:
            self._ledgers[number] = KnownLedger.read(self.bank, number)
        return self._ledgers[number]


def _money(event: Event) -> tuple[object, ...]:
    transaction = event.transaction
    return transaction.account.ordinal, transaction.posted_at.date(), transaction.amount_minor
