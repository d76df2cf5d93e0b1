"""Requests as the bank reads them: declared, checked once, then typed. Fields that it does not know are left unread."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from dev.bank.errors import InvalidBody, InvalidField, MissingFields

Count = Annotated[int, Meta(ge=1, le=500)]
Days = Annotated[int, Meta(ge=1, le=730)]
Version = Literal["v1", "v2"]

_LONGEST_INTEGER = 30
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


class ItemRemove(ItemRequest, frozen=True, kw_only=True):
    """Body of `/item/remove`."""

    reason_code: RemovalReason | None = None
    reason_note: Annotated[str, Meta(max_length=512)] | None = None


class PublicTokenExchange(ClientRequest, frozen=True, kw_only=True):
    """Body of `/item/public_token/exchange`."""

    public_token: str


class AccountsOptions(Struct, frozen=True, kw_only=True):
    """`account_ids` keeps those accounts only; all of them when absent."""

    account_ids: list[str] | UnsetType = UNSET


class AccountsGet(ItemRequest, frozen=True, kw_only=True):
    """Body of `/accounts/get`."""

    options: AccountsOptions = field(default_factory=AccountsOptions)


class BalanceOptions(AccountsOptions, frozen=True, kw_only=True):
    """The bank's balances are never too old for `min_last_updated_datetime`."""

    min_last_updated_datetime: datetime | UnsetType = UNSET


class BalanceGet(ItemRequest, frozen=True, kw_only=True):
    """Body of `/accounts/balance/get`."""

    options: BalanceOptions = field(default_factory=BalanceOptions)


class ReadingOptions(Struct, frozen=True, kw_only=True):
    """How transactions are written. Categories are always of taxonomy v1, and histories as long as they are."""

    include_original_description: bool | None = False
    include_personal_finance_category: bool = True
    include_logo_and_counterparty_beta: bool = True
    personal_finance_category_version: Version = "v1"
    days_requested: Days = 90


class SyncOptions(ReadingOptions, frozen=True, kw_only=True):
    """`account_id` makes a stream of its own, with its own cursors."""

    account_id: str = ""


class TransactionsSync(ItemRequest, frozen=True, kw_only=True):
    """Body of `/transactions/sync`. A null or empty cursor means the beginning, as does none; `now` means the end."""

    cursor: str | None = None
    count: Count = 100
    options: SyncOptions = field(default_factory=SyncOptions)


class ListOptions(ReadingOptions, frozen=True, kw_only=True):
    """`account_ids` keeps those accounts only; `offset` skips that many of the newest transactions."""

    account_ids: list[str] | UnsetType = UNSET
    count: Count = 100
    offset: Annotated[int, Meta(ge=0)] = 0
    include_personal_finance_category_beta: bool = True


class TransactionsGet(ItemRequest, frozen=True, kw_only=True):
    """Body of `/transactions/get`. Both days are included."""

    start_date: date
    end_date: date
    options: ListOptions = field(default_factory=ListOptions)


Body = TypeVar("Body", bound=ClientRequest)


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


def convert(fields: dict[str, Any], shape: type[Body]) -> Body:
    """Return `fields` as a request of type `shape`.

    Raises
    ------
    MissingFields, InvalidField
        If they are not one.
    """
    known = msgspec.structs.fields(shape)
    if missing := [each.name for each in known if each.required and each.name not in fields]:
        raise MissingFields(missing)
    try:
        return msgspec.convert(fields, shape)
    except msgspec.ValidationError as error:
        raise InvalidField(str(error)) from None


def _number(text: str) -> int | Decimal:
    number = Decimal(text)
    whole = abs(number.adjusted()) < _LONGEST_INTEGER and number == number.to_integral_value()
    return int(number) if whole else number


_DECODER = msgspec.json.Decoder(float_hook=_number)
