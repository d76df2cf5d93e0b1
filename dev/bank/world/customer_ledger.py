"""The ledger of a generated customer, derived from the seed alone."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Protocol

from dev.bank.world import ids, irregular, ledger, lifecycle, recurring
from dev.bank.world.customers import Customer
from dev.bank.world.ledger import MAX_TRANSACTION_LIFETIME, ONE_DAY, DayEvents, Event
from dev.bank.world.lifecycle import NewTransaction
from dev.bank.world.merchants import Market
from dev.bank.world.seed import HashDomain, Key, pack
from dev.bank.world.transactions import Transaction

_BATCH_POSTING_TIME = timedelta(hours=4)


class Quirks(Protocol):
    """How the transactions of an item differ from those that are generated."""

    @property
    def lifetime(self) -> timedelta:
        """Longest time between the first and the last event of one transaction."""

    @property
    def activity(self) -> int:
        """How many times as many transactions on no fixed day the item has."""

    def rewrite(self, events: Sequence[Event], subject: bytes) -> Sequence[Event]:
        """Return the events of one transaction as they are, from those that were generated, in order."""

    def first_events(self, first_day: date) -> Sequence[Event]:
        """Return the events of other transactions, which happen on the ledger's first day."""


@dataclass(frozen=True, slots=True)
class CustomerLedger:
    """The ledger of a generated customer. Transactions created on a day do not depend on other days."""

    key: Key
    market: Market
    item: Customer
    first_day: date
    quirks: Quirks | None = None

    def days(self, first: date, last: date) -> Iterator[DayEvents]:
        """Yield each day from `first` to `last` that has events, with all of them in order."""
        events_by_day: dict[date, list[Event]] = defaultdict(list)
        lifetime = self.quirks.lifetime if self.quirks else MAX_TRANSACTION_LIFETIME
        day = max(self.first_day, ledger.subtract_clamped(first, lifetime))
        while day <= last:
            for event in self._events_created_on(day):
                events_by_day[event.happened_on].append(event)
            events = events_by_day.pop(day, [])
            if events and day >= first:
                yield day, self._shuffle(day, events)
            day += ONE_DAY

    def _shuffle(self, day: date, events: list[Event]) -> Sequence[Event]:
        if len(events) > 1:
            # The removal of a pending transaction and its posted successor fall on one day: in either order, with other
            # events in between.
            self.key.rng(HashDomain.ORDER, self.item.origin, day.toordinal()).shuffle(events)
        return events

    def _events_created_on(self, day: date) -> Iterator[Event]:
        rng = self.key.rng(HashDomain.DAY, self.item.origin, day.toordinal())
        for ordinal, transaction in enumerate(list(self._transactions_on(day, rng))):
            events = lifecycle.events(self._new_transaction(transaction, day, ordinal), rng)
            if self.quirks is None:
                yield from events
            else:
                yield from self.quirks.rewrite(list(events), pack(self.item.origin, day.toordinal(), ordinal))
        if self.quirks is not None and day == self.first_day:
            yield from self.quirks.first_events(day)

    def _new_transaction(self, transaction: Transaction, day: date, ordinal: int) -> NewTransaction:
        number = self.item.number
        return NewTransaction(
            transaction,
            day,
            posted_id=ids.transaction_id(self.key, number, day, ordinal),
            pending_id=ids.pending_id(self.key, number, day, ordinal),
        )

    def _transactions_on(self, day: date, rng: Random) -> Iterator[Transaction]:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        yield from recurring.due_transactions(self.item.recurring_payments, midnight + _BATCH_POSTING_TIME, rng)
        for _ in range(self.quirks.activity if self.quirks else 1):
            yield from irregular.generate_transactions(self.item, self.market, midnight, rng)
