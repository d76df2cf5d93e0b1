"""What items and accounts answer. One function an endpoint: bank, request and request id in, response out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import msgspec
from msgspec import UNSET

from dev.bank.api import auth, render, requests, schemas
from dev.bank.api.requests import AccountsGet, BalanceGet, Body
from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged
from dev.bank.feed import feed
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Body]):
    """A route: what it is sent and what answers it."""

    path: str
    request: type[Body]
    answer: Callable[[Bank, Body, str], msgspec.Struct]

    @property
    def lever(self) -> bool:
        """Whether it is there to arrange tests, so that neither limits nor faults touch it."""
        return self.path.startswith("/sandbox/")


def exchange_public_token(
    bank: Bank, request: requests.PublicTokenExchange, request_id: str
) -> schemas.PublicTokenExchanged:
    """Give the access token of the item that a public token stands for, and let that item be read again."""
    number = auth.number(bank, request)
    if bank.changes.access(number) is not Access.OPEN:
        bank.changes.record(AccessChanged(number, Access.OPEN))
    bank.faults.forgive(number)
    access_token = tokens.mint(bank.key, TokenKind.ACCESS, number)
    return schemas.PublicTokenExchanged(access_token, bank.ledger(number).item.item_id, request_id)


def get_item(bank: Bank, request: requests.ItemRequest, request_id: str) -> schemas.ItemGot:
    """Describe an item, and what keeps it from being read."""
    ledger = auth.described(bank, request)
    refusal = auth.obstacle(bank, ledger.item.number)
    error = None if refusal is None else render.error(refusal, request_id)
    described = render.item_described(ledger.item, ledger.first_day, error)
    return schemas.ItemGot(described, render.status(bank.today), request_id)


def remove_item(bank: Bank, request: requests.ItemRemove, request_id: str) -> schemas.Done:
    """Forget an item until it is linked again."""
    number = auth.described(bank, request).item.number
    bank.changes.record(AccessChanged(number, Access.REMOVED))
    return schemas.Done(request_id)


def get_accounts(bank: Bank, request: AccountsGet | BalanceGet, request_id: str) -> schemas.AccountsGot:
    """List an item's accounts with what they hold today."""
    ledger = auth.opened(bank, request)
    wanted = request.options.account_ids
    held = ledger.item.accounts if wanted is UNSET else [auth.account(ledger.item, each) for each in wanted]
    moved = feed.end(ledger, feed.beginning(ledger), today=bank.today).moved
    return schemas.AccountsGot(render.accounts(held, moved), render.item(ledger.item), request_id)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/item/public_token/exchange", requests.PublicTokenExchange, exchange_public_token),
    Endpoint("/item/get", requests.ItemRequest, get_item),
    Endpoint("/item/remove", requests.ItemRemove, remove_item),
    Endpoint("/accounts/get", requests.AccountsGet, get_accounts),
    Endpoint("/accounts/balance/get", requests.BalanceGet, get_accounts),
)
