"""What items and accounts answer. One function an endpoint: bank, request and request id in, response out."""

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
    """A route: what it is sent and what answers it."""

    path: str
    request_type: type[RequestT]
    handle: Callable[[Bank, RequestT, str], msgspec.Struct]

    @property
    def is_sandbox(self) -> bool:
        """Whether it is there to arrange tests, so that neither limits nor faults touch it."""
        return self.path.startswith("/sandbox/")


def exchange_public_token(
    bank: Bank, request: requests.PublicTokenExchangeRequest, request_id: str
) -> schemas.PublicTokenExchangeResponse:
    """Give the access token of the item that a public token stands for, and let that item be read again."""
    number = auth.item_number(bank, request)
    if bank.changes.access(number) is not Access.OPEN:
        bank.changes.record(AccessChanged(number, Access.OPEN))
    bank.faults.restore_item(number)
    access_token = tokens.mint(bank.key, TokenKind.ACCESS, number)
    return schemas.PublicTokenExchangeResponse(access_token, bank.ledger(number).item.item_id, request_id)


def get_item(bank: Bank, request: requests.ItemRequest, request_id: str) -> schemas.ItemGetResponse:
    """Describe an item, and what keeps it from being read."""
    ledger = auth.find_ledger(bank, request)
    refusal = auth.access_error(bank, ledger.item.number)
    error = None if refusal is None else render.error(refusal, request_id)
    described = render.item_details(ledger.item, ledger.first_day, error)
    return schemas.ItemGetResponse(described, render.status(bank.today), request_id)


def remove_item(bank: Bank, request: requests.ItemRemoveRequest, request_id: str) -> schemas.RequestIdResponse:
    """Forget an item until it is linked again."""
    number = auth.find_ledger(bank, request).item.number
    bank.changes.record(AccessChanged(number, Access.REMOVED))
    return schemas.RequestIdResponse(request_id)


def get_accounts(
    bank: Bank, request: AccountsGetRequest | BalanceGetRequest, request_id: str
) -> schemas.AccountsGetResponse:
    """List an item's accounts with what they hold today."""
    ledger = auth.find_readable_ledger(bank, request)
    wanted = request.options.account_ids
    held = ledger.item.accounts if wanted is UNSET else [auth.find_account(ledger.item, each) for each in wanted]
    moved = feed.end_position(ledger, feed.start_position(ledger), today=bank.today).outflows
    return schemas.AccountsGetResponse(render.accounts(held, moved), render.item(ledger.item), request_id)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/item/public_token/exchange", requests.PublicTokenExchangeRequest, exchange_public_token),
    Endpoint("/item/get", requests.ItemRequest, get_item),
    Endpoint("/item/remove", requests.ItemRemoveRequest, remove_item),
    Endpoint("/accounts/get", requests.AccountsGetRequest, get_accounts),
    Endpoint("/accounts/balance/get", requests.BalanceGetRequest, get_accounts),
)
