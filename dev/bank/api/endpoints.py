"""Endpoints of items and accounts. Each is a function of bank, request and request id that returns a response."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import msgspec
from msgspec import UNSET

from dev.bank.api import auth, render, requests, schemas
from dev.bank.api.requests import AccountsGetRequest, BalanceGetRequest, RequestT
from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged
from dev.bank.feed import feed
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[RequestT]):
    """A route: its path, the type of its requests, and its handler."""

    path: str
    request_type: type[RequestT]
    handle: Callable[[Bank, RequestT, str], msgspec.Struct]

    @property
    def is_sandbox(self) -> bool:
        """Whether it serves to set up tests; limits and faults do not apply to it."""
        return self.path.startswith("/sandbox/")


def exchange_public_token(
    bank: Bank, request: requests.PublicTokenExchangeRequest, request_id: str
) -> schemas.PublicTokenExchangeResponse:
    """Return the access token of a public token's item, and make the item readable again."""
    number = auth.item_number(bank, request)
    if bank.changes.access(number) is not Access.OPEN:
        bank.changes.record(AccessChanged(number, Access.OPEN))
    bank.faults.restore_item(number)
    access_token = tokens.mint(bank.key, TokenKind.ACCESS, number)
    return schemas.PublicTokenExchangeResponse(access_token, bank.ledger(number).item.item_id, request_id)


def get_item(bank: Bank, request: requests.ItemRequest, request_id: str) -> schemas.ItemGetResponse:
    """Return an item, with the error that makes it unreadable."""
    ledger = auth.find_ledger(bank, request)
    access_error = auth.access_error(bank, ledger.item.number)
    error = None if access_error is None else render.error(access_error, request_id)
    item = render.item_details(ledger.item, ledger.first_day, error)
    return schemas.ItemGetResponse(item, render.status(bank.today), request_id)


def remove_item(bank: Bank, request: requests.ItemRemoveRequest, request_id: str) -> schemas.RequestIdResponse:
    """Remove an item until it is linked again."""
    number = auth.find_ledger(bank, request).item.number
    bank.changes.record(AccessChanged(number, Access.REMOVED))
    return schemas.RequestIdResponse(request_id)


def get_accounts(
    bank: Bank, request: AccountsGetRequest | BalanceGetRequest, request_id: str
) -> schemas.AccountsGetResponse:
    """Return an item's accounts with their balances of today."""
    ledger = auth.find_readable_ledger(bank, request)
    item, account_ids = ledger.item, request.options.account_ids
    accounts = item.accounts if account_ids is UNSET else [auth.find_account(item, each) for each in account_ids]
    outflows = feed.end_position(ledger, feed.start_position(ledger), today=bank.today).outflows
    listed = [each for each in accounts if bank.lists_account(item, each)]
    rendered = [
        msgspec.structs.replace(each, flaws=bank.flaws_of_account(item, account) or UNSET)
        for account, each in zip(listed, render.accounts(item, listed, outflows, today=bank.today), strict=True)
    ]
    return schemas.AccountsGetResponse(rendered, render.item(item), request_id)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/item/public_token/exchange", requests.PublicTokenExchangeRequest, exchange_public_token),
    Endpoint("/item/get", requests.ItemRequest, get_item),
    Endpoint("/item/remove", requests.ItemRemoveRequest, remove_item),
    Endpoint("/accounts/get", requests.AccountsGetRequest, get_accounts),
    Endpoint("/accounts/balance/get", requests.BalanceGetRequest, get_accounts),
)
