"""What each endpoint answers. One function an endpoint: bank, request and request id in, response out."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import msgspec

from dev.bank import cursors, institutions, items, render, requests, responses, tokens
from dev.bank.accounts import Account
from dev.bank.bank import Bank
from dev.bank.cursors import CursorForeign, Stream
from dev.bank.errors import (
    InvalidAccessToken,
    InvalidAccountId,
    InvalidField,
    InvalidInstitution,
    InvalidPublicToken,
)
from dev.bank.items import Item
from dev.bank.requests import Body
from dev.bank.tokens import TokenKind, TokenUnknown

_NUMBERED_USER = re.compile(r"user_(\d+)", re.ASCII)
_LONGEST_NUMBER = len(str(tokens.ITEMS))
_UPDATED = "HISTORICAL_UPDATE_COMPLETE"
_NOT_READY = "NOT_READY"


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Body]):
    """A route: what it is sent and what answers it."""

    path: str
    request: type[Body]
    answer: Callable[[Bank, Body, str], msgspec.Struct]


def create_public_token(
    bank: Bank, request: requests.PublicTokenCreate, request_id: str
) -> responses.PublicTokenCreated:
    """Take on a customer: the one that the user name numbers, or anyone at the institution asked for."""
    if not institutions.exists(request.institution_id):
        raise InvalidInstitution
    named = _NUMBERED_USER.fullmatch(request.options.override_username or "")
    number = _number(named[1]) if named else _anyone(bank, request.institution_id)
    return responses.PublicTokenCreated(tokens.mint(bank.key, TokenKind.PUBLIC, number), request_id)


def exchange_public_token(
    bank: Bank, request: requests.PublicTokenExchange, request_id: str
) -> responses.PublicTokenExchanged:
    """Give the access token of the item that a public token stands for."""
    try:
        number = tokens.read(bank.key, TokenKind.PUBLIC, request.public_token)
    except TokenUnknown:
        raise InvalidPublicToken from None
    return responses.PublicTokenExchanged(
        tokens.mint(bank.key, TokenKind.ACCESS, number), bank.item(number).item_id, request_id
    )


def get_item(bank: Bank, request: requests.ItemGet, request_id: str) -> responses.ItemGot:
    """Describe an item."""
    item = _item(bank, request.access_token)
    return responses.ItemGot(render.item_created(item, bank.first_day(item)), render.status(bank.today), request_id)


def get_accounts(bank: Bank, request: requests.AccountsGet, request_id: str) -> responses.AccountsGot:
    """List an item's accounts with what they hold today."""
    item = _item(bank, request.access_token)
    wanted = request.options.account_ids
    chosen = item.accounts if wanted is None else [_account(item, account_id) for account_id in wanted]
    moved = bank.read(item, bank.beginning(item), limit=1).moved
    return responses.AccountsGot(render.accounts(chosen, moved), render.item(item), request_id)


def sync_transactions(bank: Bank, request: requests.TransactionsSync, request_id: str) -> responses.TransactionsSynced:
    """Give the next page of an item's ledger."""
    item = _item(bank, request.access_token)
    account = _account(item, request.options.account_id) if request.options.account_id else None
    stream = Stream(item, account)
    sent = request.cursor or ""
    try:
        position = cursors.unseal(bank.key, stream, sent) if sent else bank.beginning(item)
    except CursorForeign:
        message = "cursor not associated with access_token"
        raise InvalidField(message) from None
    page = bank.read(item, position, limit=request.count, account=account)
    # Nothing read, nothing moved: the cursor goes back as it came, which is empty before the first event.
    after = cursors.seal(bank.key, stream, page.after) if page.events else sent
    added = [render.transaction(bank.key, item, event.transaction) for event in page.events]
    if request.options.include_original_description:
        added = [msgspec.structs.replace(each, original_description=each.name) for each in added]
    return responses.TransactionsSynced(
        accounts=render.accounts([account] if account else item.accounts, page.moved),
        added=added,
        modified=[],
        removed=[],
        next_cursor=after,
        has_more=page.has_more,
        request_id=request_id,
        transactions_update_status=_UPDATED if after else _NOT_READY,
    )


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/sandbox/public_token/create", requests.PublicTokenCreate, create_public_token),
    Endpoint("/item/public_token/exchange", requests.PublicTokenExchange, exchange_public_token),
    Endpoint("/item/get", requests.ItemGet, get_item),
    Endpoint("/accounts/get", requests.AccountsGet, get_accounts),
    Endpoint("/transactions/sync", requests.TransactionsSync, sync_transactions),
)


def _number(digits: str) -> int:
    number = int(digits) if len(digits) <= _LONGEST_NUMBER else tokens.ITEMS
    if number >= tokens.ITEMS:
        message = f"override_username must number an item below 2**64, found {len(digits)} digits; use a smaller number"
        raise InvalidField(message)
    return number


def _anyone(bank: Bank, institution_id: str) -> int:
    while True:
        number = secrets.randbelow(tokens.ITEMS)
        if items.institution_of(bank.key, number).institution_id == institution_id:
            return number


def _item(bank: Bank, access_token: str) -> Item:
    try:
        return bank.item(tokens.read(bank.key, TokenKind.ACCESS, access_token))
    except TokenUnknown:
        raise InvalidAccessToken from None


def _account(item: Item, account_id: str) -> Account:
    for account in item.accounts:
        if account.account_id == account_id:
            return account
    raise InvalidAccountId
