"""From a token to the item that it opens, unless something is in the way."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dev.bank.api.errors import (
    ApiError,
    InvalidAccessToken,
    InvalidAccountId,
    InvalidApiKeys,
    InvalidPublicToken,
    ItemLoginRequired,
    ItemNotFound,
    MissingFields,
    PermissionRevoked,
)
from dev.bank.api.requests import ClientRequest, ItemRequest, PublicTokenExchangeRequest
from dev.bank.bank import Bank
from dev.bank.changes import Access
from dev.bank.faults import Fault
from dev.bank.world import tokens
from dev.bank.world.accounts import Account
from dev.bank.world.items import Item
from dev.bank.world.ledger import Ledger
from dev.bank.world.tokens import TokenKind, TokenUnknown


def item_number(bank: Bank, request: ClientRequest) -> int:
    """Return the number of the item that a request is about, 0 if it is about none.

    Raises
    ------
    InvalidAccessToken, InvalidPublicToken
        If it carries a token that the bank never gave.
    """
    if isinstance(request, ItemRequest):
        return _item_of_token(bank, TokenKind.ACCESS, request.access_token, InvalidAccessToken)
    if isinstance(request, PublicTokenExchangeRequest):
        return _item_of_token(bank, TokenKind.PUBLIC, request.public_token, InvalidPublicToken)
    return 0


def find_ledger(bank: Bank, request: ItemRequest) -> Ledger:
    """Return the ledger of an item that is there, whether it may be read or not.

    Raises
    ------
    ItemNotFound
        If the item was removed.
    """
    item = item_number(bank, request)
    if bank.changes.access(item) is Access.REMOVED:
        raise ItemNotFound
    return bank.ledger(item)


def access_error(bank: Bank, item: int) -> ApiError | None:
    """Return what keeps an item that is there from being read."""
    if bank.faults.strikes_item(bank.key, Fault.REVOKED, item):
        return PermissionRevoked()
    if bank.changes.access(item) is Access.LOCKED or bank.faults.strikes_item(bank.key, Fault.LOGIN_REQUIRED, item):
        return ItemLoginRequired()
    return None


def find_readable_ledger(bank: Bank, request: ItemRequest) -> Ledger:
    """Return the ledger of an item that may be read.

    Raises
    ------
    ItemNotFound, ItemLoginRequired, PermissionRevoked
        If it may not.
    """
    ledger = find_ledger(bank, request)
    if refusal := access_error(bank, ledger.item.number):
        raise refusal
    return ledger


def find_account(item: Item, account_id: str) -> Account:
    """Return the item's account that has that id.

    Raises
    ------
    InvalidAccountId
        If none has.
    """
    for each in item.accounts:
        if each.account_id == account_id:
            return each
    raise InvalidAccountId


def _item_of_token(bank: Bank, kind: TokenKind, token: str, refusal: type[ApiError]) -> int:
    try:
        item = tokens.read(bank.key, kind, token)
    except TokenUnknown:
        raise refusal from None
    if item >= bank.item_count:
        raise refusal
    return item


@dataclass(frozen=True, slots=True)
class Credentials:
    """The client that the bank answers. Both are ASCII, all that a header surely carries."""

    client_id: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.client_id.isascii() and self.secret.isascii()):
            message = "client id or secret has a character outside ASCII; choose ones without"
            raise ValueError(message)

    def check(self, headers: Mapping[str, str], fields: Mapping[str, Any]) -> None:
        """Pass if the request carries them, as headers `PLAID-CLIENT-ID` and `PLAID-SECRET` or as body fields.

        Raises
        ------
        MissingFields
            If either is absent from both.
        InvalidApiKeys
            If they are not this client's.
        """
        given = {
            "client_id": headers.get("plaid-client-id") or fields.get("client_id"),
            "secret": headers.get("plaid-secret") or fields.get("secret"),
        }
        if missing := [name for name, value in given.items() if not value]:
            raise MissingFields(missing)
        matches = [
            _equal_in_constant_time(given["client_id"], self.client_id),
            _equal_in_constant_time(given["secret"], self.secret),
        ]
        if not all(matches):
            raise InvalidApiKeys


def _equal_in_constant_time(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
