"""What an invented customer does on each day, out of the seed alone."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random

from dev.bank.world import ids, irregular, ledger, lifecycle, recurring
from dev.bank.world.customers import Customer
from dev.bank.world.ledger import ONE_DAY, REACH, Day, Event
from dev.bank.world.lifecycle import Birth
from dev.bank.world.merchants import Market
from dev.bank.world.seed import Domain, Key
from dev.bank.world.transactions import Transaction

_BATCH_RUN = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class CustomerLedger:
    """The ledger of an invented customer. What is made on a day depends on no other day."""

    key: Key
    market: Market
    item: Customer
    first_day: date

    def days(self, first: date, last: date) -> Iterator[Day]:
        """Yield each day from `first` to `last` that has events, with all of them in order."""
        coming: dict[date, list[Event]] = defaultdict(list)
        day = max(self.first_day, ledger.earlier(first, REACH))
        while day <= last:
            for event in self._made_on(day):
                coming[event.on].append(event)
            events = coming.pop(day, [])
            if events and day >= first:
                yield day, self._in_order(day, events)
            day += ONE_DAY

    def _in_order(self, day: date, events: list[Event]) -> Sequence[Event]:
        if len(events) > 1:
            # A removal and what replaces it fall on one day, in either order and with other events in between.
            self.key.rng(Domain.ORDER, self.item.number, day.toordinal()).shuffle(events)
        return events

    def _made_on(self, day: date) -> Iterator[Event]:
        rng = self.key.rng(Domain.DAY, self.item.number, day.toordinal())
        for ordinal, transaction in enumerate(list(self._transactions_of(day, rng))):
            yield from lifecycle.live(self._birth(transaction, day, ordinal), rng)

    def _birth(self, transaction: Transaction, day: date, ordinal: int) -> Birth:
        number = self.item.number
        return Birth(
            transaction,
            day,
            posted_id=ids.transaction_id(self.key, number, day, ordinal),
            pending_id=ids.pending_id(self.key, number, day, ordinal),
        )

    def _transactions_of(self, day: date, rng: Random) -> Iterator[Transaction]:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        yield from recurring.due(self.item.standings, midnight + _BATCH_RUN, rng)
        yield from irregular.spend(self.item, self.market, midnight, rng)
