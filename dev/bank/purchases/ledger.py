"""The ledger of real purchases; all are posted, each on its own day."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from operator import itemgetter

from dev.bank.purchases.rows import DECIMAL_PLACES, STERLING
from dev.bank.world import categories, ids
from dev.bank.world.categories import PaymentChannel
from dev.bank.world.currencies import Currency
from dev.bank.world.items import Item
from dev.bank.world.ledger import Change, DayEvents, Event
from dev.bank.world.merchants import Payee
from dev.bank.world.seed import Key
from dev.bank.world.transactions import Transaction, TransactionCode

_SELECT_PURCHASES = """
select day, account, minor, currency, merchant, source, row
from purchases
where item = ? and day between ? and ?
order by day, place
"""

PurchaseRow = tuple[int, int, int, str, str, str, int]


@dataclass(frozen=True, slots=True)
class PurchaseLedger:
    """The purchases made with the cards of one item."""

    key: Key
    item: Item
    first_day: date
    index: sqlite3.Connection

    def days(self, first: date, last: date) -> Iterator[DayEvents]:
        """Yield each day from `first` to `last` that has events, with all of them in order."""
        rows = self.index.execute(_SELECT_PURCHASES, (self.item.number, first.toordinal(), last.toordinal()))
        for ordinal, day_rows in groupby(rows, key=itemgetter(0)):
            day = date.fromordinal(ordinal)
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            yield day, [self._event(day, midnight, row) for row in day_rows]

    def _event(self, day: date, midnight: datetime, row: PurchaseRow) -> Event:
        _, account, minor, currency, merchant, source, source_row = row
        purchase = Transaction(
            account=self.item.accounts[account],
            posted_at=midnight,
            authorized_at=midnight,
            amount_minor=minor,
            name=merchant,
            category=categories.UNCATEGORISED,
            channel=PaymentChannel.OTHER,
            code=TransactionCode.REFUND if minor < 0 else TransactionCode.PURCHASE,
            merchant=self._payee(merchant) if merchant else None,
            foreign_currency=None if currency == STERLING else Currency(currency, exponent=DECIMAL_PLACES),
        )
        return Event(Change.ADDED, day, purchase, ids.purchase_id(self.key, source, source_row), day)

    def _payee(self, name: str) -> Payee:
        return Payee(entity_id=ids.named_entity_id(self.key, name), name=name, website=None, confidence="LOW")
