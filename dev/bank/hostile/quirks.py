"""Faults that change what an item's ledger holds: when its transactions are posted, corrected, moved and named."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_field
from datetime import UTC, date, datetime, timedelta

from msgspec.structs import replace

from dev.bank.faults import Fault, Faults
from dev.bank.world import categories, ids
from dev.bank.world.categories import PaymentChannel
from dev.bank.world.currencies import HRK
from dev.bank.world.customers import Customer
from dev.bank.world.items import Item
from dev.bank.world.ledger import Change, Event
from dev.bank.world.merchants import Payee
from dev.bank.world.seed import Key
from dev.bank.world.transactions import Transaction, TransactionCode

QUIRKS = (
    Fault.LARGE_LOGIN,
    Fault.OLD_LOAN,
    Fault.LONG_HOLD,
    Fault.LATE_POSTING,
    Fault.CORRECTED,
    Fault.MOVED_ACCOUNT,
    Fault.RENAMED_MERCHANT,
    Fault.HISTORICAL_CURRENCY,
)
"""Faults that change the ledger of an item."""

LARGE_ACTIVITY = 40
"""How many times as many transactions as others a large login has."""

HOLD = timedelta(days=30)
"""How long a long hold is pending."""

MAX_POSTING_DELAY = 4
"""Days after the removal of a pending transaction until its posted one appears, at most."""

MAX_CORRECTION_DELAY = 4
"""Days from one version of a posted transaction to the next, at most."""

LOAN_AGE = timedelta(days=730)
"""How long before the ledger begins an old loan is dated."""

OLD_LOAN = "old loan"
"""Names the transaction that is an old loan."""

NAME_PERIOD_DAYS = 15
"""Days for which a renamed merchant keeps a name."""

HRK_ENDED_ON = date(2023, 1, 1)
"""First day on which the kuna was no currency any more."""

_LIFETIME = timedelta(days=60)
"""Longer than a hold, its posting and two corrections together."""


@dataclass(frozen=True, slots=True)
class FaultQuirks:
    """The quirks of one item; each depends on the seed, the rate and the transaction alone."""

    key: Key
    faults: Faults
    item: Customer

    @property
    def lifetime(self) -> timedelta:
        """Longest time between the first and the last event of one transaction."""
        return _LIFETIME

    @property
    def activity(self) -> int:
        """How many times as many transactions on no fixed day the item has."""
        is_large = self.faults.strikes(self.key, Fault.LARGE_LOGIN, str(self.item.origin).encode())
        return LARGE_ACTIVITY if is_large else 1

    def rewrite(self, events: Sequence[Event], subject: bytes) -> Sequence[Event]:
        """Return the events of one transaction as they are, from those that were generated, in order."""
        rewritten = self._prolong(list(events), subject)
        rewritten = self._post_late(rewritten, subject)
        rewritten = self._correct(rewritten, subject)
        return [replace(each, transaction=self._rename(self._convert(each.transaction, subject))) for each in rewritten]

    def first_events(self, first_day: date) -> Sequence[Event]:
        """Return the event of an old loan, if the item has one."""
        if not self.faults.strikes(self.key, Fault.OLD_LOAN, str(self.item.origin).encode()):
            return []
        dated = first_day - LOAN_AGE
        at = datetime(dated.year, dated.month, dated.day, tzinfo=UTC)
        return [extra_event(self.key, self.item, OLD_LOAN, happened_on=first_day, at=at)]

    def _strikes(self, fault: Fault, subject: bytes) -> bool:
        return self.faults.strikes(self.key, fault, subject)

    def _prolong(self, events: list[Event], subject: bytes) -> list[Event]:
        """Let a hold last longer, with all that follows it."""
        if not events[0].transaction.pending or not self._strikes(Fault.LONG_HOLD, subject):
            return events
        delay = HOLD - (events[1].happened_on - events[0].happened_on)
        first = replace(events[0], superseded_on=_later(events[0].superseded_on, delay))
        return [first, *(_delay(each, delay) for each in events[1:])]

    def _post_late(self, events: list[Event], subject: bytes) -> list[Event]:
        """Let the posted transaction appear days after the pending one was removed."""
        if not events[0].transaction.pending or not self._strikes(Fault.LATE_POSTING, subject):
            return events
        delay = timedelta(days=1 + self.faults.choose(self.key, Fault.LATE_POSTING, subject, count=MAX_POSTING_DELAY))
        return [each if each.transaction.pending else _delay(each, delay) for each in events]

    def _correct(self, events: list[Event], subject: bytes) -> list[Event]:
        """Append one or two modifications of a posted transaction, or one that moves it to another account."""
        last = events[-1]
        if last.change is not Change.ADDED or last.transaction.pending:
            return events
        if self._strikes(Fault.CORRECTED, subject):
            count = 1 + self.faults.choose(self.key, Fault.CORRECTED, subject, count=2)
            for number in range(count):
                events = self._modify(events, subject + bytes([number]), last.transaction.account.ordinal)
        if self._strikes(Fault.MOVED_ACCOUNT, subject):
            accounts = [each for each in self.item.accounts if each.currency == last.transaction.account.currency]
            position = accounts.index(last.transaction.account)
            events = self._modify(events, subject, accounts[(position + 1) % len(accounts)].ordinal)
        return events

    def _modify(self, events: list[Event], subject: bytes, account: int) -> list[Event]:
        *earlier, last = events
        days = 1 + self.faults.choose(self.key, Fault.CORRECTED, subject, count=MAX_CORRECTION_DELAY)
        happened_on = last.happened_on + timedelta(days=days)
        transaction = replace(
            last.transaction,
            account=self.item.accounts[account],
            amount_minor=last.transaction.amount_minor + days,
            name=f"{last.transaction.name} V{len(events)}",
        )
        modified = replace(
            last, change=Change.MODIFIED, happened_on=happened_on, transaction=transaction, superseded_on=None
        )
        return [*earlier, replace(last, superseded_on=happened_on), modified]

    def _convert(self, transaction: Transaction, subject: bytes) -> Transaction:
        """Return a purchase of before 2023 in kuna."""
        is_kuna = transaction.merchant is not None and transaction.posted_at.date() < HRK_ENDED_ON
        if is_kuna and self._strikes(Fault.HISTORICAL_CURRENCY, subject):
            return replace(transaction, foreign_currency=HRK)
        return transaction

    def _rename(self, transaction: Transaction) -> Transaction:
        """Return the transaction with the name that its merchant has on its day."""
        merchant = transaction.merchant
        if merchant is None or not self._strikes(Fault.RENAMED_MERCHANT, merchant.entity_id.encode()):
            return transaction
        period = transaction.posted_at.date().toordinal() // NAME_PERIOD_DAYS
        renamed: Payee = replace_field(merchant, name=f"{merchant.name} {period}", website=f"name{period}.example")
        return replace(transaction, merchant=renamed)


def extra_event(key: Key, item: Item, name: str, *, happened_on: date, at: datetime) -> Event:
    """Return the addition of a transaction of the item's first account that no day created."""
    transaction = Transaction(
        account=item.accounts[0],
        posted_at=at,
        authorized_at=at,
        amount_minor=25_000,
        name=name.upper(),
        category=categories.UNCATEGORISED,
        channel=PaymentChannel.OTHER,
        code=TransactionCode.PAYMENT,
    )
    return Event(Change.ADDED, happened_on, transaction, ids.extra_id(key, item.number, name), happened_on)


def _later(day: date | None, delay: timedelta) -> date | None:
    return None if day is None else day + delay


def _delay(event: Event, delay: timedelta) -> Event:
    """Return an event that happens later; a posted transaction is also added and dated later."""
    delayed = replace(event, happened_on=event.happened_on + delay, superseded_on=_later(event.superseded_on, delay))
    if event.transaction.pending:
        return delayed
    posted = replace(event.transaction, posted_at=event.transaction.posted_at + delay)
    return replace(delayed, transaction=posted, added_on=event.added_on + delay)
