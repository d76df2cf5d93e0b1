"""A transaction as the bank keeps it: exact, without ids, not yet in anyone's JSON.

Hundreds are made for a response, hence structs: they are made several times as fast as frozen dataclasses.
"""

from datetime import date, datetime
from enum import Enum

from msgspec import Struct

from dev.bank.accounts import Account
from dev.bank.categories import Category, Channel
from dev.bank.merchants import Merchant


class Code(Enum):
    """How the money moved; the value is Plaid's transaction code."""

    ATM = "atm"
    BANK_CHARGE = "bank charge"
    DIRECT_DEBIT = "direct debit"
    INTEREST = "interest"
    PAYMENT = "payment"
    PURCHASE = "purchase"
    REFUND = "refund"
    STANDING_ORDER = "standing order"
    TRANSFER = "transfer"


class Place(Struct, frozen=True):
    """Where a card was present. `country` is ISO 3166-1 alpha-2."""

    city: str
    country: str
    store_number: str


class Transaction(Struct, frozen=True):
    """Money that moved.

    Parameters
    ----------
    ordinal
        0-based among the transactions that the bank made for the item on `posted_at`'s date.
    minor
        Minor units of the account's currency; positive when money leaves the account.
    name
        The line on the bank statement.
    merchant
        None where the provider recognises no merchant.
    payer
        Who paid a salary.
    """

    account: Account
    ordinal: int
    posted_at: datetime
    authorized_at: datetime
    minor: int
    name: str
    category: Category
    channel: Channel
    code: Code
    merchant: Merchant | None = None
    payer: str | None = None
    place: Place | None = None

    @property
    def made_on(self) -> date:
        """The date in whose turn the bank made the transaction."""
        return self.posted_at.date()
