"""From a token to the item that it opens, unless something is in the way."""

from dev.bank import tokens
from dev.bank.accounts import Account
from dev.bank.bank import Bank
from dev.bank.changes import Access
from dev.bank.errors import (
    InvalidAccessToken,
    InvalidAccountId,
    InvalidPublicToken,
    ItemLoginRequired,
    ItemNotFound,
    PermissionRevoked,
    Refusal,
)
from dev.bank.faults import Fault
from dev.bank.items import Item
from dev.bank.ledger import Ledger
from dev.bank.requests import ClientRequest, ItemRequest, PublicTokenExchange
from dev.bank.tokens import TokenKind, TokenUnknown


def number(bank: Bank, request: ClientRequest) -> int:
    """Return the number of the item that a request is about, 0 if it is about none.

    Raises
    ------
    InvalidAccessToken, InvalidPublicToken
        If it carries a token that the bank never gave.
    """
    if isinstance(request, ItemRequest):
        return _read(bank, TokenKind.ACCESS, request.access_token, InvalidAccessToken)
    if isinstance(request, PublicTokenExchange):
        return _read(bank, TokenKind.PUBLIC, request.public_token, InvalidPublicToken)
    return 0


def described(bank: Bank, request: ItemRequest) -> Ledger:
    """Return the ledger of an item that is there, whether it may be read or not.

    Raises
    ------
    ItemNotFound
        If the item was removed.
    """
    item = number(bank, request)
    if bank.changes.access(item) is Access.REMOVED:
        raise ItemNotFound
    return bank.ledger(item)


def obstacle(bank: Bank, item: int) -> Refusal | None:
    """Return what keeps an item that is there from being read."""
    if bank.faults.locks(bank.key, Fault.REVOKED, item):
        return PermissionRevoked()
    if bank.changes.access(item) is Access.LOCKED or bank.faults.locks(bank.key, Fault.LOGIN_REQUIRED, item):
        return ItemLoginRequired()
    return None


def opened(bank: Bank, request: ItemRequest) -> Ledger:
    """Return the ledger of an item that may be read.

    Raises
    ------
    ItemNotFound, ItemLoginRequired, PermissionRevoked
        If it may not.
    """
    ledger = described(bank, request)
    if refusal := obstacle(bank, ledger.item.number):
        raise refusal
    return ledger


def account(item: Item, account_id: str) -> Account:
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


def _read(bank: Bank, kind: TokenKind, token: str, refusal: type[Refusal]) -> int:
    try:
        item = tokens.read(bank.key, kind, token)
    except TokenUnknown:
        raise refusal from None
    if item >= bank.items:
        raise refusal
    return item
