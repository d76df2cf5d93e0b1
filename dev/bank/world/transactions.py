"""Transactions in the bank's own form: with exact amounts, without ids.

A response needs hundreds of them, and structs are created several times as fast as frozen dataclasses.
"""

from datetime import datetime
from enum import Enum

from msgspec import Struct

from dev.bank.world.accounts import Account
from dev.bank.world.categories import Category, PaymentChannel
from dev.bank.world.currencies import Currency
from dev.bank.world.merchants import Payee


class TransactionCode(Enum):
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


class StoreLocation(Struct, frozen=True):
    """The shop or cash machine where a card was used. `country` is ISO 3166-1 alpha-2."""

    city: str
    country: str
    store_number: str


class Transaction(Struct, frozen=True):
    """A transaction of an account.

    Parameters
    ----------
    amount_minor
        Minor units of the currency; positive when money leaves the account.
    name
        Text on the bank statement.
    merchant
        None if the provider recognises no merchant.
    payer
        The employer that paid a salary.
    pending
        Whether the amount is reserved but not yet posted; `posted_at` is then the time of the reservation.
    foreign_currency
        Currency of the amount, if it is not the account's.
    """

    account: Account
    posted_at: datetime
    authorized_at: datetime
    amount_minor: int
    name: str
    category: Category
    channel: PaymentChannel
    code: TransactionCode
    merchant: Payee | None = None
    payer: str | None = None
    store_location: StoreLocation | None = None
    pending: bool = False
    foreign_currency: Currency | None = None

    @property
    def currency(self) -> Currency:
        """Currency of the amount."""
        return self.foreign_currency or self.account.currency
