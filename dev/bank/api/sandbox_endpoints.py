"""What the levers of the sandbox do to single items."""

import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from dev.bank.api import auth, requests, schemas
from dev.bank.api.endpoints import Endpoint
from dev.bank.api.errors import InvalidField, InvalidInstitution
from dev.bank.api.requests import CustomTransaction, DayRequest, FaultsRequest, ItemRequest
from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged, CreatedTransaction, TransactionsCreated
from dev.bank.faults import FaultRateInvalid, FaultUnknown
from dev.bank.world import tokens
from dev.bank.world.accounts import Account
from dev.bank.world.tokens import TokenKind

MAX_CREATED_TRANSACTIONS = 10
"""Transactions that one request may create."""

MAX_CREATED_AGE = timedelta(days=14)
"""How far back a created transaction may lie."""

MAX_AMOUNT = 10**12
"""Whole units of currency that a created transaction may move, less one."""

_NUMBERED_USER = re.compile(r"user_(\d+)", re.ASCII)
_MAX_NUMBER_DIGITS = len(str(tokens.MAX_ITEMS))


def create_public_token(
    bank: Bank, request: requests.PublicTokenCreateRequest, request_id: str
) -> schemas.PublicTokenCreateResponse:
    """Take on a customer: the one that the user name numbers, or anyone at the institution asked for."""
    if not bank.has_institution(request.institution_id):
        raise InvalidInstitution
    named = _NUMBERED_USER.fullmatch(request.options.override_username or "")
    number = _parse_item_number(bank, named[1]) if named else bank.random_item(request.institution_id)
    return schemas.PublicTokenCreateResponse(tokens.mint(bank.key, TokenKind.PUBLIC, number), request_id)


def reset_login(bank: Bank, request: ItemRequest, request_id: str) -> schemas.ResetLoginResponse:
    """Lock an item until it is linked again."""
    number = auth.find_ledger(bank, request).item.number
    bank.changes.record(AccessChanged(number, Access.LOCKED))
    return schemas.ResetLoginResponse(reset_login=True, request_id=request_id)


def create_transactions(
    bank: Bank, request: requests.TransactionsCreateRequest, request_id: str
) -> schemas.RequestIdResponse:
    """Add transactions to an item's first account, today."""
    item = auth.find_readable_ledger(bank, request).item
    if len(request.transactions) > MAX_CREATED_TRANSACTIONS:
        message = "The request contains too many transactions."
        raise InvalidField(message)
    created = [_created_transaction(bank, each, item.accounts[0]) for each in request.transactions]
    if created:
        bank.changes.record(TransactionsCreated(item.number, created))
    return schemas.RequestIdResponse(request_id)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("/sandbox/public_token/create", requests.PublicTokenCreateRequest, create_public_token),
    Endpoint("/sandbox/item/reset_login", ItemRequest, reset_login),
    Endpoint("/sandbox/transactions/create", requests.TransactionsCreateRequest, create_transactions),
)


def _parse_item_number(bank: Bank, digits: str) -> int:
    number = int(digits) if len(digits) <= _MAX_NUMBER_DIGITS else tokens.MAX_ITEMS
    if number >= bank.item_count:
        below = "2**64" if bank.item_count == tokens.MAX_ITEMS else bank.item_count
        message = f"override_username must number an item below {below}, found {len(digits)} digits; number a lower one"
        raise InvalidField(message)
    return number


def _created_transaction(bank: Bank, given: CustomTransaction, account: Account) -> CreatedTransaction:
    if not bank.today - MAX_CREATED_AGE <= given.date_transacted <= given.date_posted <= bank.today:
        message = (
            "Transaction and posted dates must be within the last 14 days. "
            "The posted date cannot be before the transaction date."
        )
        raise InvalidField(message)
    currency = account.currency
    if given.iso_currency_code not in {"", currency.code}:
        message = f"iso_currency_code must be its account's, {currency.code}; leave it out or send that one"
        raise InvalidField(message)
    if abs(given.amount) >= MAX_AMOUNT:
        message = f"amount must be below {MAX_AMOUNT}; send less"
        raise InvalidField(message)
    minor = round(given.amount.scaleb(currency.exponent))
    return CreatedTransaction(bank.today, given.date_transacted, given.date_posted, minor, given.description)


DAY_PATH = "/sandbox/day"
FAULTS_PATH = "/sandbox/faults"


def advance_day(bank: Bank, request: DayRequest) -> Bank:
    """Return the bank on a later day.

    Raises
    ------
    InvalidField
        If not exactly one of both is said, or if the day would be earlier, or later than there are days.
    """
    if (request.advance is None) == (request.day is None):
        message = 'say either {"advance": <days>} or {"day": "YYYY-MM-DD"}'
        raise InvalidField(message)
    day = request.day or _days_later(bank.today, request.advance or 0)
    if day < bank.today:
        message = f"day is {day}, before the bank's today, {bank.today}; days never go back"
        raise InvalidField(message)
    return replace(bank, today=day)


def set_faults(bank: Bank, request: FaultsRequest) -> None:
    """Switch on the faults that are named, and off all others.

    Raises
    ------
    InvalidField
        If there is no such fault or no such rate.
    """
    try:
        bank.faults.set_rates(request.faults)
    except (FaultUnknown, FaultRateInvalid) as error:
        raise InvalidField(str(error)) from None


def _days_later(today: date, days: int) -> date:
    try:
        return today + timedelta(days=days)
    except OverflowError:
        message = f"the calendar ends before {days} days after {today}; advance by less"
        raise InvalidField(message) from None
