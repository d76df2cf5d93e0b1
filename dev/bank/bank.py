"""The bank: a seed, the day on which it opened, its current day, and the changes made by requests."""

import secrets
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from dev.bank.changes import Changes
from dev.bank.faults import Faults
from dev.bank.purchases.file import PurchaseFile
from dev.bank.world import customers, institutions, tokens
from dev.bank.world.amended_ledger import AmendedLedger
from dev.bank.world.customer_ledger import CustomerLedger
from dev.bank.world.institutions import PURCHASE_CARD_INSTITUTION
from dev.bank.world.ledger import Ledger
from dev.bank.world.merchants import Market
from dev.bank.world.seed import Key


@dataclass(frozen=True, slots=True)
class Bank:
    """The state from which every request is answered.

    Parameters
    ----------
    opened_on
        Each generated ledger begins on this day or up to a month before it.
    today
        The bank's current day: the last day of every ledger.
    changes
        Changes made by requests; everything else follows from the seed.
    faults
        Faults to inject.
    purchases
        Real purchases to serve instead of generated ones.
    """

    key: Key
    market: Market
    opened_on: date
    today: date
    changes: Changes = field(default_factory=Changes, compare=False)
    faults: Faults = field(default_factory=Faults, compare=False)
    purchases: PurchaseFile | None = None

    @classmethod
    def from_seed(cls, seed: str, *, opened_on: date, today: date) -> Self:
        """Return the bank of a seed.

        Raises
        ------
        ValueError
            If the bank would open after today.
        """
        if opened_on > today:
            message = f"the bank opens on {opened_on}, after its current day, {today}; open it on that day or before"
            raise ValueError(message)
        key = Key.of(seed)
        return cls(key, Market.of(key), opened_on, today)

    @property
    def item_count(self) -> int:
        """Number of items; they are numbered from 0."""
        return tokens.MAX_ITEMS if self.purchases is None else self.purchases.item_count

    def ledger(self, number: int) -> Ledger:
        """Return the ledger of item `number`, 0 to `item_count` - 1."""
        base = self._base_ledger(number)
        created = self.changes.created(number)
        return AmendedLedger(self.key, base, created) if created else base

    def has_institution(self, institution_id: str) -> bool:
        """Return whether items may be linked at an institution; that of real purchases needs them to be served."""
        is_card_institution = self.purchases is not None and institution_id == PURCHASE_CARD_INSTITUTION.institution_id
        return is_card_institution or institutions.exists(institution_id)

    def random_item(self, institution_id: str) -> int:
        """Return the number of a random item: at that institution, or any if real purchases are served."""
        while True:
            number = secrets.randbelow(self.item_count)
            if self.purchases or customers.institution_of(self.key, number).institution_id == institution_id:
                return number

    def _base_ledger(self, number: int) -> Ledger:
        if self.purchases is not None:
            return self.purchases.ledger(number)
        customer = customers.derive(self.key, self.market, number)
        return CustomerLedger(self.key, self.market, customer, self.opened_on - customer.head_start)
