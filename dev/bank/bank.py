"""The bank: a seed, the day on which it opened, its current day, and the changes made by requests."""

import secrets
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from dev.bank.changes import Changes
from dev.bank.faults import Fault, Faults
from dev.bank.hostile import flaws
from dev.bank.hostile.flaws import Flaw
from dev.bank.hostile.quirks import QUIRKS, FaultQuirks
from dev.bank.hostile.readers import Readers
from dev.bank.purchases.file import PurchaseFile
from dev.bank.world import customers, institutions, tokens
from dev.bank.world.accounts import Account
from dev.bank.world.amended_ledger import AmendedLedger
from dev.bank.world.customer_ledger import CustomerLedger
from dev.bank.world.institutions import BULGARIAN_INSTITUTION, PURCHASE_CARD_INSTITUTION
from dev.bank.world.items import Item
from dev.bank.world.ledger import Event, Ledger
from dev.bank.world.merchants import Market
from dev.bank.world.seed import Key, pack

VANISHING_DAYS = 3
"""Days for which an account that vanishes is not listed."""


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
    readers
        What the bank remembers of those who read its feeds.
    purchases
        Real purchases to serve instead of generated ones.
    """

    key: Key
    market: Market
    opened_on: date
    today: date
    changes: Changes = field(default_factory=Changes, compare=False)
    faults: Faults = field(default_factory=Faults, compare=False)
    readers: Readers = field(default_factory=Readers, compare=False)
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

    def lists_account(self, item: Item, account: Account) -> bool:
        """Return whether the bank lists an account today; it always lists the first one of an item."""
        period = self.today.toordinal() // VANISHING_DAYS
        subject = pack(item.number, account.ordinal, period)
        return not (account.ordinal and self.faults.strikes(self.key, Fault.VANISHING_ACCOUNT, subject))

    def flaws_of(self, item: Item, event: Event) -> tuple[Flaw, ...]:
        """Return how the record of a transaction after `event` is spoiled."""
        return flaws.flaws_of(self.key, self.faults, item, event)

    def flaws_of_account(self, item: Item, account: Account) -> tuple[Flaw, ...]:
        """Return how the record of an account is spoiled today."""
        return flaws.flaws_of_account(self.key, self.faults, item, account, today=self.today.toordinal())

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
        origin = self.changes.origin(number)
        institution = None
        if self.faults.strikes(self.key, Fault.BGN_ACCOUNTS, pack(origin)):
            institution = BULGARIAN_INSTITUTION
        customer = customers.derive(self.key, self.market, number, origin=origin, institution=institution)
        quirks = FaultQuirks(self.key, self.faults, customer) if self.faults.any_enabled(*QUIRKS) else None
        return CustomerLedger(self.key, self.market, customer, self.opened_on - customer.head_start, quirks)
