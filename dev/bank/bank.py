"""The bank itself: a seed, a day on which it opened and a day that is today. It remembers nothing else."""

from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Self

from dev.bank import days, items, ledger
from dev.bank.accounts import Account
from dev.bank.items import Item
from dev.bank.keys import Key
from dev.bank.ledger import Page, Position
from dev.bank.merchants import Market


@dataclass(frozen=True, slots=True)
class Bank:
    """All that a request is answered from.

    Parameters
    ----------
    opened
        Day on which, or up to a month before which, each item's ledger begins.
    today
        Last day of every ledger.
    """

    key: Key
    market: Market
    opened: date
    today: date

    @classmethod
    def found(cls, seed: str, *, opened: date, today: date) -> Self:
        """Return the bank that `seed` names.

        Raises
        ------
        ValueError
            If the bank would open after today.
        """
        if opened > today:
            message = f"the bank opens on {opened}, after its today, {today}; open it on that day or before"
            raise ValueError(message)
        key = Key.of(seed)
        return cls(key, Market.of(key), opened, today)

    def item(self, number: int) -> Item:
        """Return item `number`, 0 to 2**64 - 1."""
        return items.derive(self.key, self.market, number)

    def first_day(self, item: Item) -> date:
        """Return the day on which the item's ledger begins."""
        return self.opened - item.head_start

    def beginning(self, item: Item) -> Position:
        """Return the position before the item's first event."""
        return Position(self.first_day(item), 0, (0,) * len(item.accounts))

    def read(self, item: Item, position: Position, *, limit: int, account: Account | None = None) -> Page:
        """Return the first `limit` events, at least 1, from `position` on; of one account only, if given."""
        made = partial(days.events_on, self.key, self.market, item)
        return ledger.read_page(made, position, today=self.today, limit=limit, account=account)
