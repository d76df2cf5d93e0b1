"""Real purchases, read from a file that a city published.

A card is an account, a directorate is an item, and the merchant is the one that the row names. Source file and row are
the only identity of a purchase: equal rows are different purchases. The amount is the original one; its currency is the
original one, else the billing one, else sterling. Balances, and which purchases were pending, are unknown.

Items are numbered from 0 in the order of the directorates' names, ignoring case; purchases without a directorate form
an item too. A card that two directorates used is an account of each.
"""

import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from dev.bank.purchases import rows
from dev.bank.purchases.ledger import PurchaseLedger
from dev.bank.world import ids
from dev.bank.world.accounts import Account, AccountKind
from dev.bank.world.currencies import GBP
from dev.bank.world.institutions import PURCHASE_CARD_INSTITUTION
from dev.bank.world.items import Item
from dev.bank.world.seed import Key

_TEMPORARY_DATABASE = ""
"""SQLite's name for a database in an unnamed file, which is removed when the process ends, however it ends."""

_MASK_LENGTH = 4
_NO_DIRECTORATE = "No directorate"

_CREATE_TABLES = """
pragma journal_mode = off;
pragma synchronous = off;
create table read_rows (directorate, name, card, day, minor, currency, merchant, source, row);
create table purchases (
    item integer, day integer, place integer, account integer, minor integer, currency text, merchant text,
    source text, row integer,
    primary key (item, day, place)
) without rowid;
"""
_INSERT_ROW = "insert into read_rows values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Numbers items, accounts and the purchases of a day from 0 by rank, so that the order of the file does not matter.
_NUMBER_ROWS = """
insert into purchases
select
    dense_rank() over (order by directorate) - 1,
    day,
    row_number() over (partition by directorate, day order by source, row) - 1,
    dense_rank() over (partition by directorate order by card) - 1,
    minor,
    currency,
    merchant,
    source,
    row
from read_rows
"""
_SELECT_ITEMS = "select directorate, min(name), min(day) from read_rows group by directorate order by directorate"
_SELECT_CARDS = "select distinct card from read_rows where directorate = ? order by card"


class PurchaseFile:
    """An indexed file of purchases; the index is a temporary SQLite database.

    Parameters
    ----------
    key
        Key from which the ids are derived.
    path
        A CSV file, compressed by gzip if its name ends in `.gz`.

    Raises
    ------
    PurchaseUnreadable
        If a row cannot be read.
    """

    def __init__(self, key: Key, path: Path) -> None:
        self._key = key
        self._index = sqlite3.connect(_TEMPORARY_DATABASE, check_same_thread=False)
        try:
            self._ledgers = tuple(self._build_index(path))
        except BaseException:
            self.close()
            raise

    @property
    def item_count(self) -> int:
        """Number of items in the file."""
        return len(self._ledgers)

    def ledger(self, number: int) -> PurchaseLedger:
        """Return the ledger of item `number`, 0 to `item_count` - 1."""
        return self._ledgers[number]

    def close(self) -> None:
        """Remove the index."""
        self._index.close()

    def _build_index(self, path: Path) -> Iterator[PurchaseLedger]:
        self._index.executescript(_CREATE_TABLES)
        self._index.executemany(_INSERT_ROW, _rows(path))
        self._index.execute(_NUMBER_ROWS)
        items = self._index.execute(_SELECT_ITEMS).fetchall()
        for number, (directorate, name, first_day) in enumerate(items):
            cards = [card for (card,) in self._index.execute(_SELECT_CARDS, (directorate,))]
            item = _item(self._key, number, name or _NO_DIRECTORATE, cards)
            yield PurchaseLedger(self._key, item, date.fromordinal(first_day), self._index)
        self._index.execute("drop table read_rows")
        self._index.commit()


def _rows(path: Path) -> Iterator[tuple[str | int, ...]]:
    for each in rows.read(path):
        yield (
            each.directorate.casefold(),
            each.directorate,
            each.card,
            each.bought_on.toordinal(),
            each.amount_minor,
            each.currency,
            each.merchant,
            each.source,
            each.row,
        )


def _item(key: Key, number: int, name: str, cards: list[str]) -> Item:
    accounts = tuple(
        Account(
            ordinal=ordinal,
            account_id=ids.account_id(key, number, ordinal),
            kind=AccountKind.CREDIT_CARD,
            currency=GBP,
            name="Purchase Card",
            official_name=name,
            mask=card[-_MASK_LENGTH:],
            opening_balance=None,
        )
        for ordinal, card in enumerate(cards)
    )
    return Item(number, ids.item_id(key, number), PURCHASE_CARD_INSTITUTION, accounts)
