"""Checks credentials, and finds the item, ledger or account that a request may access."""

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
from dev.bank.world.seed import pack
from dev.bank.world.tokens import TokenKind, TokenUnknown


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials of the bank's only client; ASCII, since other characters are not reliable in headers."""

    client_id: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.client_id.isascii() and self.secret.isascii()):
            message = "client id or secret has a character outside ASCII; use ASCII only"
            raise ValueError(message)

    def check(self, headers: Mapping[str, str], fields: Mapping[str, Any]) -> None:
        """Raise unless a request has these credentials, in headers `PLAID-CLIENT-ID` and `PLAID-SECRET` or in its body.

        Raises
        ------
        MissingFields
            If one of them is in neither.
        InvalidApiKeys
            If one of them is wrong.
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


def item_number(bank: Bank, request: ClientRequest) -> int:
    """Return the number of a request's item, or 0 if the request has none.

    Raises
    ------
    InvalidAccessToken, InvalidPublicToken
        If the bank did not issue the request's token.
    """
    if isinstance(request, ItemRequest):
        if bank.faults.strikes(bank.key, Fault.WRONG_ENVIRONMENT, pack(bank.today.toordinal())):
            raise InvalidAccessToken
        return _item_of_token(bank, TokenKind.ACCESS, request.access_token, InvalidAccessToken)
    if isinstance(request, PublicTokenExchangeRequest):
        return _item_of_token(bank, TokenKind.PUBLIC, request.public_token, InvalidPublicToken)
    return 0


def find_ledger(bank: Bank, request: ItemRequest) -> Ledger:
    """Return the ledger of an item, readable or not.

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
    """Return the error that makes an item unreadable, or None; does not check whether the item was removed."""
    if bank.faults.strikes_item(bank.key, Fault.REVOKED, item):
        return PermissionRevoked()
    if bank.changes.access(item) is Access.LOCKED or bank.faults.strikes_item(bank.key, Fault.LOGIN_REQUIRED, item):
        return ItemLoginRequired()
    if bank.faults.strikes(bank.key, Fault.LOGIN_REPAIRED, pack(item, bank.today.toordinal())):
        return ItemLoginRequired()
    return None


def find_readable_ledger(bank: Bank, request: ItemRequest) -> Ledger:
    """Return the ledger of a readable item.

    Raises
    ------
    ItemNotFound, ItemLoginRequired, PermissionRevoked
        If the item was removed, is locked, or access to it was revoked.
    """
    ledger = find_ledger(bank, request)
    if error := access_error(bank, ledger.item.number):
        raise error
    return ledger


def find_account(item: Item, account_id: str) -> Account:
    """Return the item's account with this id.

    Raises
    ------
    InvalidAccountId
        If the item has no such account.
    """
    for each in item.accounts:
        if each.account_id == account_id:
            return each
    raise InvalidAccountId


def _item_of_token(bank: Bank, kind: TokenKind, token: str, error: type[ApiError]) -> int:
    try:
        item = tokens.read(bank.key, kind, token)
    except TokenUnknown:
        raise error from None
    if item >= bank.item_count:
        raise error
    return item


def _equal_in_constant_time(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
