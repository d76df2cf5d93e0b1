"""A ledger with the transactions that were created by request."""

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
    """Another ledger, and after the events of each day the transactions created on it."""

    key: Key
    base: Ledger
    created_transactions: Sequence[CreatedTransaction]

    @property
    def item(self) -> Item:
        """Whose ledger it is."""
        return self.base.item

    @property
    def first_day(self) -> date:
        """Day before which nothing happened."""
        return min(self.base.first_day, *(each.on for each in self.created_transactions))

    def days(self, first: date, last: date) -> Iterator[DayEvents]:
        """Yield each day from `first` to `last` that has events, with all of them in order."""
        added: dict[date, list[Event]] = defaultdict(list)
        for ordinal, created in enumerate(self.created_transactions):
            if first <= created.on <= last:
                added[created.on].append(self._added_event(ordinal, created))
        for day, events in self.base.days(first, last):
            for earlier in sorted(on for on in added if on < day):
                yield earlier, added.pop(earlier)
            yield day, [*events, *added.pop(day, ())]
        yield from sorted(added.items())

    def _added_event(self, ordinal: int, created: CreatedTransaction) -> Event:
        account = self.item.accounts[0]
        posted_at, authorized_at = (
            datetime.combine(day, time(), UTC) for day in (created.posted_on, created.transacted_on)
        )
        made = Transaction(
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
        return Event(Change.ADDED, created.on, made, identity, created.on)
