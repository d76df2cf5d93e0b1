"""Requests as the bank reads them: declared, checked once, then typed. Fields that it does not know are left unread."""

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
"""Digits of a number written with a point or an exponent that is read as a whole one."""


class ClientRequest(Struct, frozen=True, kw_only=True):
    """What every request may carry; the credentials may be in headers instead."""

    client_id: str = ""
    secret: str = ""


class ItemRequest(ClientRequest, frozen=True, kw_only=True):
    """A request about one item. As it is, it is the body of `/item/get` and of `/sandbox/item/reset_login`."""

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
    """`account_ids` keeps those accounts only; all of them when absent."""

    account_ids: list[str] | UnsetType = UNSET


class AccountsGetRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/accounts/get`."""

    options: AccountsOptions = field(default_factory=AccountsOptions)


class BalanceOptions(AccountsOptions, frozen=True, kw_only=True):
    """The bank's balances are never too old for `min_last_updated_datetime`."""

    min_last_updated_datetime: datetime | UnsetType = UNSET


class BalanceGetRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/accounts/balance/get`."""

    options: BalanceOptions = field(default_factory=BalanceOptions)


class TransactionOptions(Struct, frozen=True, kw_only=True):
    """How transactions are written. Categories are always of taxonomy v1, and histories as long as they are."""

    include_original_description: bool | None = False
    include_personal_finance_category: bool = True
    include_logo_and_counterparty_beta: bool = True
    personal_finance_category_version: CategoryVersion = "v1"
    days_requested: HistoryDays = 90


class SyncOptions(TransactionOptions, frozen=True, kw_only=True):
    """`account_id` makes a stream of its own, with its own cursors."""

    account_id: str = ""


class TransactionsSyncRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/transactions/sync`. A null or empty cursor means the beginning, as does none; `now` means the end."""

    cursor: str | None = None
    count: PageSize = 100
    options: SyncOptions = field(default_factory=SyncOptions)


class ListOptions(TransactionOptions, frozen=True, kw_only=True):
    """`account_ids` keeps those accounts only; `offset` skips that many of the newest transactions."""

    account_ids: list[str] | UnsetType = UNSET
    count: PageSize = 100
    offset: Annotated[int, Meta(ge=0)] = 0
    include_personal_finance_category_beta: bool = True


class TransactionsGetRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/transactions/get`. Both days are included."""

    start_date: date
    end_date: date
    options: ListOptions = field(default_factory=ListOptions)


RequestT = TypeVar("RequestT", bound=ClientRequest)


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, with decimals where numbers are not whole.

    Raises
    ------
    InvalidBody
        If there is none, or more than that.
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
        If they are not one.
    """
    known = msgspec.structs.fields(request_type)
    if missing := [each.name for each in known if each.required and each.name not in fields]:
        raise MissingFields(missing)
    try:
        return msgspec.convert(fields, request_type)
    except msgspec.ValidationError as error:
        raise InvalidField(str(error)) from None


def _parse_number(text: str) -> int | Decimal:
    number = Decimal(text)
    whole = abs(number.adjusted()) < _MAX_INTEGER_DIGITS and number == number.to_integral_value()
    return int(number) if whole else number


_DECODER = msgspec.json.Decoder(float_hook=_parse_number)


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
    days_requested: HistoryDays = 90


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


class PublicTokenCreateRequest(ClientRequest, frozen=True, kw_only=True):
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


class TransactionsCreateRequest(ItemRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/transactions/create`."""

    transactions: list[CustomTransaction]


class FaultsRequest(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/faults`: the rate of each fault that is to be on; the others go off."""

    faults: dict[str, float]


class DayRequest(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/day`: so many days on, or to that day."""

    advance: Annotated[int, Meta(ge=0, le=36_600)] | None = None
    day: date | None = None
