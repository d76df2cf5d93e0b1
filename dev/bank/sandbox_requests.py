"""Requests to the levers of the sandbox: Plaid's own, and the bank's."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from dev.bank.requests import ClientRequest, Days, ItemRequest

Product = Literal[
    "assets",
    "auth",
    "balance",
    "balance_plus",
    "beacon",
    "cra_base_report",
    "cra_cashflow_insights",
    "cra_income_insights",
    "cra_lend_score",
    "cra_monitoring",
    "cra_network_insights",
    "cra_partner_insights",
    "cra_plaid_credit_score",
    "credit_details",
    "employment",
    "identity",
    "identity_match",
    "identity_verification",
    "income",
    "income_verification",
    "investments",
    "investments_auth",
    "layer",
    "liabilities",
    "pay_by_bank",
    "payment_initiation",
    "processor_identity",
    "processor_payments",
    "profile",
    "protect_linked_bank",
    "protect_transactions",
    "recurring_transactions",
    "signal",
    "standing_orders",
    "statements",
    "transactions",
    "transactions_refresh",
    "transfer",
]
"""Products that an item may be created with; the bank serves transactions whichever it is."""


class HistoryOptions(Struct, frozen=True, kw_only=True):
    """Read and left alone: a history is as long as it is."""

    start_date: date | UnsetType = UNSET
    end_date: date | UnsetType = UNSET
    days_requested: Days = 90


class StatementsOptions(Struct, frozen=True, kw_only=True):
    """Read and left alone: the bank has no statements."""

    start_date: date
    end_date: date


class BankIncomeOptions(Struct, frozen=True, kw_only=True):
    """Read and left alone, as the other income options are."""

    days_requested: int = 90


class IncomeOptions(Struct, frozen=True, kw_only=True):
    """Read and left alone: the bank verifies no income."""

    income_source_types: list[Literal["bank", "payroll"]] = []
    bank_income: BankIncomeOptions | UnsetType = UNSET


class PublicTokenOptions(Struct, frozen=True, kw_only=True):
    """`override_username` of the form `user_<digits>` names the item number; any other draws one."""

    override_username: str | None = "user_good"
    override_password: str | None = None
    webhook: str = ""
    transactions: HistoryOptions | None = None
    statements: StatementsOptions | None = None
    income_verification: IncomeOptions | UnsetType = UNSET


class PublicTokenCreate(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/public_token/create`."""

    institution_id: str
    initial_products: Annotated[list[Product], Meta(min_length=1)]
    options: PublicTokenOptions = field(default_factory=PublicTokenOptions)
    user_token: str = ""
    user_id: str = ""


class CustomTransaction(Struct, frozen=True, kw_only=True):
    """Plaid's `CustomSandboxTransaction`; without a currency it is in its account's."""

    date_transacted: date
    date_posted: date
    amount: Decimal
    description: str
    iso_currency_code: str = ""


class TransactionsCreate(ItemRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/transactions/create`."""

    transactions: list[CustomTransaction]


class FaultsSwitch(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/faults`: the rate of each fault that is to be on; the others go off."""

    faults: dict[str, float]


class DayTurn(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/day`: so many days on, or to that day."""

    advance: Annotated[int, Meta(ge=0, le=36_600)] | None = None
    day: date | None = None
