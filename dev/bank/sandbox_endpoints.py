"""What the levers of the sandbox do to single items."""

import re
from datetime import timedelta
from typing import Any

from dev.bank import access, responses, sandbox_requests, tokens
from dev.bank.accounts import Account
from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged, Created, TransactionsCreated
from dev.bank.endpoints import Endpoint
from dev.bank.errors import InvalidField, InvalidInstitution
from dev.bank.requests import ItemRequest
from dev.bank.sandbox_requests import CustomTransaction
from dev.bank.tokens import TokenKind

MOST_CREATED = 10
"""Transactions that one request may create."""

LONGEST_AGO = timedelta(days=14)
"""How far back a created transaction may lie."""

LARGEST_AMOUNT = 10**12
"""Whole units of currency that a created transaction may move, less one."""

_NUMBERED_USER = re.compile(r"user_(\d+)", re.ASCII)
_LONGEST_NUMBER = len(str(tokens.ITEMS))


def create_public_token(
    bank: Bank, request: sandbox_requests.PublicTokenCreate, request_id: str
) -> responses.PublicTokenCreated:
    """Take on a customer: the one that the user name numbers, or anyone at the institution asked for."""
    if not bank.has_institution(request.institution_id):
        raise InvalidInstitution
    named = _NUMBERED_USER.fullmatch(request.options.override_username or "")
    number = _number(bank, named[1]) if named else bank.anyone(request.institution_id)
    return responses.PublicTokenCreated(tokens.mint(bank.key, TokenKind.PUBLIC, number), request_id)


def reset_login(bank: Bank, request: ItemRequest, request_id: str) -> responses.LoginReset:
    """Lock an item until it is linked again."""
    number = access.described(bank, request).item.number
    bank.changes.record(AccessChanged(number, Access.LOCKED))
    return responses.LoginReset(reset_login=True, request_id=request_id)


def create_transactions(bank: Bank, request: sandbox_requests.TransactionsCreate, request_id: str) -> responses.Done:
    """Add transactions to an item's first account, today."""
    item = access.opened(bank, request).item
    if len(request.transactions) > MOST_CREATED:
        message = "The request contains too many transactions."
        raise InvalidField(message)
    created = [_created(bank, each, item.accounts[0]) for each in request.transactions]
    if created:
        bank.changes.record(TransactionsCreated(item.number, created))
    return responses.Done(request_id)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/sandbox/public_token/create", sandbox_requests.PublicTokenCreate, create_public_token),
    Endpoint("/sandbox/item/reset_login", ItemRequest, reset_login),
    Endpoint("/sandbox/transactions/create", sandbox_requests.TransactionsCreate, create_transactions),
)


def _number(bank: Bank, digits: str) -> int:
    number = int(digits) if len(digits) <= _LONGEST_NUMBER else tokens.ITEMS
    if number >= bank.items:
        below = "2**64" if bank.items == tokens.ITEMS else bank.items
        message = f"override_username must number an item below {below}, found {len(digits)} digits; number a lower one"
        raise InvalidField(message)
    return number


def _created(bank: Bank, given: CustomTransaction, account: Account) -> Created:
    if not bank.today - LONGEST_AGO <= given.date_transacted <= given.date_posted <= bank.today:
        message = (
            "Transaction and posted dates must be within the last 14 days. "
            "The posted date cannot be before the transaction date."
        )
        raise InvalidField(message)
    currency = account.currency
    if given.iso_currency_code not in {"", currency.code}:
        message = f"iso_currency_code must be its account's, {currency.code}; leave it out or send that one"
        raise InvalidField(message)
    if abs(given.amount) >= LARGEST_AMOUNT:
        message = f"amount must be below {LARGEST_AMOUNT}; send less"
        raise InvalidField(message)
    minor = round(given.amount.scaleb(currency.exponent))
    return Created(bank.today, given.date_transacted, given.date_posted, minor, given.description)
