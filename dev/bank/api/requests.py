"""Bodies of requests, validated once and typed. Unknown fields are ignored."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from dev.bank.api.errors import InvalidBody, InvalidField, MissingFields

PageSize = Annotated[int, Meta(ge=1, le=500)]
HistoryDays = Annotated[int, Meta(ge=1, le=730)]
CategoryVersion = Literal["v1", "v2"]

_MAX_INTEGER_DIGITS = 30
"""Whole numbers of fewer digits may be written with a decimal point or an exponent."""


class ClientRequest(Struct, frozen=True, kw_only=True):
    """Fields that every request may have; the credentials may be in headers instead."""

    client_id: str = ""
    secret: str = ""


class ItemRequest(ClientRequest, frozen=True, kw_only=True):
    """A request about one item; also the body of `/item/get` and of `/sandbox/item/reset_login`."""

    access_token: str


class RemovalReason(Enum):
    """Why an item is removed."""

    FRAUD_FIRST_PARTY = "FRAUD_FIRST_PARTY"
    FRAUD_FALSE_IDENTITY = "FRAUD_FALSE_IDENTITY"
    FRAUD_ABUSE = "FRAUD_ABUSE"
    FRAUD_OTHER = "FRAUD_OTHER"
    CONNECTION_IS_NON_FUNCTIONAL = "CONNECTION_IS_NON_FUNCTIONAL"
    OTHER = "OTHER"


class ItemRemoveRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/item/remove`."""

    reason_code: RemovalReason | None = None
    reason_note: Annotated[str, Meta(max_length=512)] | None = None


class PublicTokenExchangeRequest(ClientRequest, frozen=True, kw_only=True):
    """Body of `/item/public_token/exchange`."""

    public_token: str


class AccountsOptions(Struct, frozen=True, kw_only=True):
    """`account_ids` selects accounts; without it, all are selected."""

    account_ids: list[str] | UnsetType = UNSET


class AccountsGetRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/accounts/get`."""

    options: AccountsOptions = field(default_factory=AccountsOptions)


class BalanceOptions(AccountsOptions, frozen=True, kw_only=True):
    """`min_last_updated_datetime` is ignored, since balances are always current."""

    min_last_updated_datetime: datetime | UnsetType = UNSET


class BalanceGetRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/accounts/balance/get`."""

    options: BalanceOptions = field(default_factory=BalanceOptions)


class TransactionOptions(Struct, frozen=True, kw_only=True):
    """How to render transactions. Categories are always of taxonomy v1; `days_requested` is ignored."""

    include_original_description: bool | None = False
    include_personal_finance_category: bool = True
    include_logo_and_counterparty_beta: bool = True
    personal_finance_category_version: CategoryVersion = "v1"
    days_requested: HistoryDays = 90


class SyncOptions(TransactionOptions, frozen=True, kw_only=True):
    """`account_id` selects the stream of one account, which has its own cursors."""

    account_id: str = ""


class TransactionsSyncRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/transactions/sync`. A null, empty or absent cursor means the beginning; `now` means the end."""

    cursor: str | None = None
    count: PageSize = 100
    options: SyncOptions = field(default_factory=SyncOptions)


class ListOptions(TransactionOptions, frozen=True, kw_only=True):
    """`account_ids` selects accounts; `offset` skips so many of the newest transactions."""

    account_ids: list[str] | UnsetType = UNSET
    count: PageSize = 100
    offset: Annotated[int, Meta(ge=0)] = 0
    include_personal_finance_category_beta: bool = True


class TransactionsGetRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/transactions/get`. Both dates are inclusive."""

    start_date: date
    end_date: date
    options: ListOptions = field(default_factory=ListOptions)


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
"""Products that an item may be created with; the bank always serves transactions."""


class HistoryOptions(Struct, frozen=True, kw_only=True):
    """Validated and ignored: the bank always serves the whole history."""

    start_date: date | UnsetType = UNSET
    end_date: date | UnsetType = UNSET
    days_requested: HistoryDays = 90


class StatementsOptions(Struct, frozen=True, kw_only=True):
    """Validated and ignored: the bank has no statements."""

    start_date: date
    end_date: date


class BankIncomeOptions(Struct, frozen=True, kw_only=True):
    """Validated and ignored, like the other income options."""

    days_requested: int = 90


class IncomeOptions(Struct, frozen=True, kw_only=True):
    """Validated and ignored: the bank verifies no income."""

    income_source_types: list[Literal["bank", "payroll"]] = []
    bank_income: BankIncomeOptions | UnsetType = UNSET


class PublicTokenOptions(Struct, frozen=True, kw_only=True):
    """`user_<digits>` as `override_username` selects an item by number; any other name selects a random item."""

    override_username: str | None = "user_good"
    override_password: str | None = None
    webhook: str = ""
    transactions: HistoryOptions | None = None
    statements: StatementsOptions | None = None
    income_verification: IncomeOptions | UnsetType = UNSET


class PublicTokenCreateRequest(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/public_token/create`."""

    institution_id: str
    initial_products: Annotated[list[Product], Meta(min_length=1)]
    options: PublicTokenOptions = field(default_factory=PublicTokenOptions)
    user_token: str = ""
    user_id: str = ""


class CustomTransaction(Struct, frozen=True, kw_only=True):
    """Plaid's `CustomSandboxTransaction`; its currency is the account's by default."""

    date_transacted: date
    date_posted: date
    amount: Decimal
    description: str
    iso_currency_code: str = ""


class TransactionsCreateRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/transactions/create`."""

    transactions: list[CustomTransaction]


class FaultsRequest(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/faults`: the rate of each fault to enable; all others are disabled."""

    faults: dict[str, float]


class DayRequest(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/day`: how many days to advance, or to which day."""

    advance: Annotated[int, Meta(ge=0, le=36_600)] | None = None
    day: date | None = None


RequestT = TypeVar("RequestT", bound=ClientRequest)


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`; numbers that are not whole become decimals.

    Raises
    ------
    InvalidBody
        If `body` is not exactly one JSON object.
    """
    try:
        fields = _DECODER.decode(body)
    except (ValueError, RecursionError):
        raise InvalidBody from None
    if not isinstance(fields, dict):
        raise InvalidBody
    return fields


def convert(fields: dict[str, Any], request_type: type[RequestT]) -> RequestT:
    """Return `fields` as a request of type `request_type`.

    Raises
    ------
    MissingFields, InvalidField
        If fields are absent or invalid.
    """
    declared = msgspec.structs.fields(request_type)
    if missing := [each.name for each in declared if each.required and each.name not in fields]:
        raise MissingFields(missing)
    try:
        return msgspec.convert(fields, request_type)
    except msgspec.ValidationError as error:
        raise InvalidField(str(error)) from None


def _parse_number(text: str) -> int | Decimal:
    number = Decimal(text)
    is_whole = abs(number.adjusted()) < _MAX_INTEGER_DIGITS and number == number.to_integral_value()
    return int(number) if is_whole else number


_DECODER = msgspec.json.Decoder(float_hook=_parse_number)
