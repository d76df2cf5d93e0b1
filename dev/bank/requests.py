"""Requests as the bank reads them: declared, checked once, then typed."""

from enum import Enum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from dev.bank.errors import InvalidBody, InvalidField, MissingFields, UnknownFields

Text = Annotated[str, Meta(min_length=1)]


class ClientRequest(Struct, frozen=True, kw_only=True):
    """What every request may carry; the credentials may be in headers instead."""

    client_id: str | None = None
    secret: str | None = None


class Product(Enum):
    """Products that an item may be created with; the bank serves transactions whichever it is."""

    AUTH = "auth"
    BALANCE = "balance"
    IDENTITY = "identity"
    RECURRING_TRANSACTIONS = "recurring_transactions"
    TRANSACTIONS = "transactions"
    TRANSACTIONS_REFRESH = "transactions_refresh"


class PublicTokenOptions(Struct, frozen=True, kw_only=True):
    """`override_username` of the form `user_<digits>` names the item number; any other draws one."""

    override_username: str | None = "user_good"


class PublicTokenCreate(ClientRequest, frozen=True, kw_only=True):
    """Body of `/sandbox/public_token/create`."""

    institution_id: Text
    initial_products: Annotated[list[Product], Meta(min_length=1)]
    options: PublicTokenOptions = field(default_factory=PublicTokenOptions)
    user_token: str | None = None
    user_id: str | None = None


class PublicTokenExchange(ClientRequest, frozen=True, kw_only=True):
    """Body of `/item/public_token/exchange`."""

    public_token: Text


class ItemGet(ClientRequest, frozen=True, kw_only=True):
    """Body of `/item/get`."""

    access_token: Text


class AccountsOptions(Struct, frozen=True, kw_only=True):
    """`account_ids` keeps those accounts only; all of them when absent."""

    account_ids: list[str] | None = None


class AccountsGet(ClientRequest, frozen=True, kw_only=True):
    """Body of `/accounts/get`."""

    access_token: Text
    options: AccountsOptions = field(default_factory=AccountsOptions)


class SyncOptions(Struct, frozen=True, kw_only=True):
    """`account_id` makes a stream of its own, with its own cursors. Categories are always of taxonomy v1."""

    account_id: str | None = None
    include_original_description: bool | None = False
    personal_finance_category_version: Literal["v1", "v2"] = "v1"
    days_requested: Annotated[int, Meta(ge=1, le=730)] = 90


class TransactionsSync(ClientRequest, frozen=True, kw_only=True):
    """Body of `/transactions/sync`. A null or empty cursor means the beginning, as does none."""

    access_token: Text
    cursor: str | None = None
    count: Annotated[int, Meta(ge=1, le=500)] = 100
    options: SyncOptions = field(default_factory=SyncOptions)


Body = TypeVar("Body", bound=ClientRequest)


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Raises
    ------
    InvalidBody
        If there is none, or more than that.
    """
    try:
        fields = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise InvalidBody from None
    if not isinstance(fields, dict):
        raise InvalidBody
    return fields


def convert(fields: dict[str, Any], shape: type[Body]) -> Body:
    """Return `fields` as a request of type `shape`.

    Raises
    ------
    MissingFields, UnknownFields, InvalidField
        If they are not one.
    """
    known = msgspec.structs.fields(shape)
    if missing := [each.name for each in known if each.required and each.name not in fields]:
        raise MissingFields(missing)
    if unknown := fields.keys() - {each.name for each in known}:
        raise UnknownFields(sorted(unknown))
    try:
        return msgspec.convert(fields, shape)
    except msgspec.ValidationError as error:
        raise InvalidField(str(error)) from None
