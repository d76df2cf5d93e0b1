"""A ledger with transactions that were created by requests."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from dev.bank.changes import CreatedTransaction
from dev.bank.world import categories, ids
from dev.bank.world.categories import PaymentChannel
from dev.bank.world.items import Item
from dev.bank.world.ledger import Change, DayEvents, Event, Ledger
from dev.bank.world.seed import Key
from dev.bank.world.transactions import Transaction, TransactionCode


@dataclass(frozen=True, slots=True)
class AmendedLedger:
    """A base ledger, with the transactions created on each day after its events of that day."""

    key: Key
    base: Ledger
    created_transactions: Sequence[CreatedTransaction]

    @property
    def item(self) -> Item:
        """The item that the ledger belongs to."""
        return self.base.item

    @property
    def first_day(self) -> date:
        """Day before which there are no events."""
        return min(self.base.first_day, *(each.on for each in self.created_transactions))

    def days(self, first: date, last: date) -> Iterator[DayEvents]:
        """Yield each day from `first` to `last` that has events, with all of them in order."""
        created_events: dict[date, list[Event]] = defaultdict(list)
        for ordinal, created in enumerate(self.created_transactions):
            if first <= created.on <= last:
                created_events[created.on].append(self._added_event(ordinal, created))
        for day, events in self.base.days(first, last):
            for earlier in sorted(on for on in created_events if on < day):
                yield earlier, created_events.pop(earlier)
            yield day, [*events, *created_events.pop(day, ())]
        yield from sorted(created_events.items())

    def _added_event(self, ordinal: int, created: CreatedTransaction) -> Event:
        account = self.item.accounts[0]
        posted_at, authorized_at = (
            datetime.combine(day, time(), UTC) for day in (created.posted_on, created.transacted_on)
        )
        transaction = Transaction(
            account=account,
            posted_at=posted_at,
            authorized_at=authorized_at,
            amount_minor=created.minor,
            name=created.description,
            category=categories.UNCATEGORISED,
            channel=PaymentChannel.OTHER,
            code=TransactionCode.PURCHASE,
        )
        identity = ids.created_id(self.key, self.item.number, ordinal)
        return Event(Change.ADDED, created.on, transaction, identity, created.on)
