"""Plaid's schemas of accounts, items, transactions and responses, with all fields in Plaid's order.

Source: Plaid API reference, version 2020-09-14.
"""

from datetime import date, datetime
from decimal import Decimal

from msgspec import UNSET, Struct, UnsetType, field

from dev.bank.hostile.flaws import Flaw
from dev.bank.world.categories import PaymentChannel, PrimaryCategory
from dev.bank.world.transactions import TransactionCode


class Balances(Struct, frozen=True):
    """Plaid's `AccountBalance`, in whole and fractional units of the currency."""

    available: Decimal | None
    current: Decimal | None
    limit: Decimal | None
    iso_currency_code: str | None
    unofficial_currency_code: str | None = None
    last_updated_datetime: datetime | UnsetType = UNSET


class Account(Struct, frozen=True):
    """Plaid's `AccountBase`; `flaws` are applied before it is sent."""

    account_id: str
    balances: Balances
    mask: str
    name: str
    official_name: str
    subtype: str
    type: str
    holder_category: str = "personal"
    persistent_account_id: str | UnsetType = UNSET
    flaws: tuple[Flaw, ...] | UnsetType = UNSET


class PersonalFinanceCategory(Struct, frozen=True):
    """Plaid's `PersonalFinanceCategory`."""

    primary: PrimaryCategory
    detailed: str
    confidence_level: str
    version: str = "v1"


class Counterparty(Struct, frozen=True):
    """Plaid's `TransactionCounterparty`."""

    name: str
    type: str
    logo_url: str | None
    website: str | None
    entity_id: str | None
    confidence_level: str


class Location(Struct, frozen=True):
    """Plaid's `Location`."""

    address: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    lat: Decimal | None = None
    lon: Decimal | None = None
    store_number: str | None = None


class PaymentMeta(Struct, frozen=True):
    """Plaid's `PaymentMeta`."""

    by_order_of: str | None = None
    payee: str | None = None
    payer: str | None = None
    payment_method: str | None = None
    payment_processor: str | None = None
    ppd_id: str | None = None
    reason: str | None = None
    reference_number: str | None = None


class Transaction(Struct, frozen=True, kw_only=True):
    """Plaid's `Transaction`; `flaws` are applied before it is sent."""

    account_id: str
    account_owner: str | None = None
    amount: Decimal
    iso_currency_code: str | None
    unofficial_currency_code: str | None = None
    check_number: str | None = None
    counterparties: list[Counterparty]
    posted_on: date = field(name="date")
    posted_at: datetime | None = field(name="datetime")
    authorized_on: date | None = field(name="authorized_date")
    authorized_at: datetime | None = field(name="authorized_datetime")
    location: Location
    name: str
    original_description: str | UnsetType | None = UNSET
    merchant_name: str | None
    merchant_entity_id: str | None
    logo_url: str | None
    website: str | None
    payment_meta: PaymentMeta
    payment_channel: PaymentChannel
    pending: bool = False
    pending_transaction_id: str | None = None
    personal_finance_category: PersonalFinanceCategory
    personal_finance_category_icon_url: str
    transaction_id: str
    transaction_code: TransactionCode | None
    transaction_type: str
    flaws: tuple[Flaw, ...] | UnsetType = UNSET


class RemovedTransaction(Struct, frozen=True):
    """Plaid's `RemovedTransaction`."""

    account_id: str | UnsetType
    transaction_id: str


class Error(Struct, frozen=True):
    """Plaid's `PlaidError`."""

    display_message: str | None
    documentation_url: str
    error_code: str
    error_message: str
    error_type: str
    request_id: str
    suggested_action: str | None


class Item(Struct, frozen=True, kw_only=True):
    """Plaid's `Item`."""

    item_id: str
    institution_id: str
    institution_name: str
    webhook: str | None = None
    auth_method: str | None = None
    error: Error | None = None
    available_products: tuple[str, ...] = ("balance",)
    billed_products: tuple[str, ...] = ("transactions",)
    products: tuple[str, ...] = ("transactions",)
    consented_products: tuple[str, ...] = ("transactions",)
    consent_expiration_time: datetime | None = None
    update_type: str = "background"
    created_at: datetime | UnsetType = UNSET


class TransactionsStatus(Struct, frozen=True):
    """Plaid's `ItemStatusTransactions`."""

    last_successful_update: datetime | None
    last_failed_update: datetime | None = None


class ItemStatus(Struct, frozen=True):
    """Plaid's `ItemStatus`."""

    transactions: TransactionsStatus
    last_webhook: None = None


class PublicTokenCreateResponse(Struct, frozen=True):
    """Response of `/sandbox/public_token/create`."""

    public_token: str
    request_id: str


class PublicTokenExchangeResponse(Struct, frozen=True):
    """Response of `/item/public_token/exchange`."""

    access_token: str
    item_id: str
    request_id: str


class ItemGetResponse(Struct, frozen=True):
    """Response of `/item/get`."""

    item: Item
    status: ItemStatus
    request_id: str


class RequestIdResponse(Struct, frozen=True):
    """Response of `/item/remove` and of `/sandbox/transactions/create`."""

    request_id: str


class ResetLoginResponse(Struct, frozen=True):
    """Response of `/sandbox/item/reset_login`."""

    reset_login: bool
    request_id: str


class AccountsGetResponse(Struct, frozen=True):
    """Response of `/accounts/get` and of `/accounts/balance/get`."""

    accounts: list[Account]
    item: Item
    request_id: str


class TransactionsSyncResponse(Struct, frozen=True):
    """Response of `/transactions/sync`."""

    accounts: list[Account]
    added: list[Transaction]
    modified: list[Transaction]
    removed: list[RemovedTransaction]
    next_cursor: str
    has_more: bool
    request_id: str
    transactions_update_status: str


class TransactionsGetResponse(Struct, frozen=True):
    """Response of `/transactions/get`."""

    accounts: list[Account]
    transactions: list[Transaction]
    total_transactions: int
    item: Item
    request_id: str


class FaultsResponse(Struct, frozen=True):
    """Response of `/sandbox/faults`: the rate of each enabled fault."""

    faults: dict[str, float]
    request_id: str


class DayResponse(Struct, frozen=True):
    """Response of `/sandbox/day`: the bank's current day."""

    day: date
    request_id: str
