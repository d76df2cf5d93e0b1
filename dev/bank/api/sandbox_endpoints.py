"""Endpoints that set up tests: they link items, reset logins, create transactions, advance the day and set faults."""

import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from dev.bank.api import auth, requests, schemas
from dev.bank.api.endpoints import Endpoint
from dev.bank.api.errors import InvalidField, InvalidInstitution
from dev.bank.api.requests import CustomTransaction, DayRequest, FaultsRequest, ItemRequest
from dev.bank.bank import Bank
from dev.bank.changes import Access, AccessChanged, CreatedTransaction, LinkedAgain, TransactionsCreated
from dev.bank.faults import Fault, FaultRateInvalid, FaultUnknown
from dev.bank.world import tokens
from dev.bank.world.accounts import Account
from dev.bank.world.seed import pack
from dev.bank.world.tokens import TokenKind

DAY_PATH = "/sandbox/day"
FAULTS_PATH = "/sandbox/faults"

MAX_CREATED_TRANSACTIONS = 10
"""Transactions that one request may create."""

MAX_CREATED_AGE = timedelta(days=14)
"""How far before today a created transaction may be dated."""

MAX_AMOUNT = 10**12
"""Exclusive limit of a created transaction's amount, in whole units of its currency."""

_NUMBERED_USER = re.compile(r"user_(\d+)", re.ASCII)
_MAX_NUMBER_DIGITS = len(str(tokens.MAX_ITEMS))


def create_public_token(
    bank: Bank, request: requests.PublicTokenCreateRequest, request_id: str
) -> schemas.PublicTokenCreateResponse:
    """Return a public token of the item that the user name selects, or of a random item at the institution."""
    if not bank.has_institution(request.institution_id):
        raise InvalidInstitution
    numbered_user = _NUMBERED_USER.fullmatch(request.options.override_username or "")
    number = _parse_item_number(bank, numbered_user[1]) if numbered_user else bank.random_item(request.institution_id)
    number = _link_again(bank, number)
    return schemas.PublicTokenCreateResponse(tokens.mint(bank.key, TokenKind.PUBLIC, number), request_id)


def reset_login(bank: Bank, request: ItemRequest, request_id: str) -> schemas.ResetLoginResponse:
    """Lock an item until it is linked again."""
    number = auth.find_ledger(bank, request).item.number
    bank.changes.record(AccessChanged(number, Access.LOCKED))
    return schemas.ResetLoginResponse(reset_login=True, request_id=request_id)


def create_transactions(
    bank: Bank, request: requests.TransactionsCreateRequest, request_id: str
) -> schemas.RequestIdResponse:
    """Create transactions in an item's first account; they appear in the feed today."""
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


def advance_day(bank: Bank, request: DayRequest) -> Bank:
    """Return the bank on a later day.

    Raises
    ------
    InvalidField
        If not exactly one of `advance` and `day` is given, or if the day is before today or beyond the calendar.
    """
    if (request.advance is None) == (request.day is None):
        message = 'send either {"advance": <days>} or {"day": "YYYY-MM-DD"}'
        raise InvalidField(message)
    day = request.day or _days_later(bank.today, request.advance or 0)
    if day < bank.today:
        message = f"day is {day}, before the bank's current day, {bank.today}; the day never goes back"
        raise InvalidField(message)
    return replace(bank, today=day)


def set_faults(bank: Bank, request: FaultsRequest) -> None:
    """Enable the requested faults and disable all others.

    Raises
    ------
    InvalidField
        If a fault or a rate is invalid.
    """
    try:
        bank.faults.set_rates(request.faults)
    except (FaultUnknown, FaultRateInvalid) as error:
        raise InvalidField(str(error)) from None


def item_of_user(bank: Bank, user: str) -> int:
    """Return the number of the item that a user name such as `user_7` selects.

    Raises
    ------
    InvalidField
        If it selects none.
    """
    if numbered_user := _NUMBERED_USER.fullmatch(user):
        return _parse_item_number(bank, numbered_user[1])
    message = f"user is {user!r}; write such as user_7"
    raise InvalidField(message)


def _link_again(bank: Bank, number: int) -> int:
    """Return the number of the item that linking item `number` makes: a new one if that fault strikes, else itself."""
    if not bank.faults.strikes(bank.key, Fault.LINKED_AGAIN, pack(number, bank.changes.linked_again)):
        return number
    new_number = tokens.MAX_ITEMS - 1 - bank.changes.linked_again
    bank.changes.record(LinkedAgain(new_number, number))
    return new_number


def _parse_item_number(bank: Bank, digits: str) -> int:
    number = int(digits) if len(digits) <= _MAX_NUMBER_DIGITS else tokens.MAX_ITEMS
    if number >= bank.item_count:
        limit = "2**64" if bank.item_count == tokens.MAX_ITEMS else bank.item_count
        message = f"override_username must be user_<n> with n below {limit}, but its n has {len(digits)} digits"
        raise InvalidField(message)
    return number


def _created_transaction(bank: Bank, requested: CustomTransaction, account: Account) -> CreatedTransaction:
    if not bank.today - MAX_CREATED_AGE <= requested.date_transacted <= requested.date_posted <= bank.today:
        message = (
            "Transaction and posted dates must be within the last 14 days. "
            "The posted date cannot be before the transaction date."
        )
        raise InvalidField(message)
    currency = account.currency
    if requested.iso_currency_code not in {"", currency.code}:
        message = f"iso_currency_code must be the account's, {currency.code}; send that or none"
        raise InvalidField(message)
    if abs(requested.amount) >= MAX_AMOUNT:
        message = f"amount must be below {MAX_AMOUNT}; send less"
        raise InvalidField(message)
    minor = round(requested.amount.scaleb(currency.exponent))
    return CreatedTransaction(
        bank.today, requested.date_transacted, requested.date_posted, minor, requested.description
    )


def _days_later(today: date, days: int) -> date:
    try:
        return today + timedelta(days=days)
    except OverflowError:
        message = f"the calendar ends before {days} days after {today}; advance by less"
        raise InvalidField(message) from None
