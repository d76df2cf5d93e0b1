"""Endpoints of accounts: metadata, details, balances and transactions."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from dev.bank.bank import Bank
from dev.bank.changes import Access, Agreement, Requisition
from dev.bank.faults import Fault
from dev.bank.feed import feed, listing
from dev.bank.gocardless import errors, records
from dev.bank.world.accounts import Account
from dev.bank.world.ledger import Event, Ledger
from dev.bank.world.seed import pack

SCOPES = ("balances", "details", "transactions")


@dataclass(frozen=True)
class GrantedAccount:
    """An account to which a user has granted access."""

    account_id: str
    account: Account
    ledger: Ledger
    requisition: Requisition
    agreement: Agreement


def find(bank: Bank, account_id: str) -> GrantedAccount:
    """Return an account that was granted, readable or not.

    Raises
    ------
    GoCardlessError
        If its id is no UUID, or it was not granted.
    """
    if not _is_uuid(account_id):
        raise errors.GoCardlessError(400, "Invalid Account ID", f"{account_id} is not a valid Account UUID. ")
    requisition = bank.changes.requisition_of(account_id)
    agreement = None if requisition is None else bank.changes.agreement(requisition.agreement_id)
    is_unknown = bank.faults.strikes(bank.key, Fault.WRONG_ENVIRONMENT, pack(bank.today.toordinal()))
    if requisition is None or requisition.item is None or agreement is None or is_unknown:
        raise errors.account_not_found(account_id)
    ledger = bank.ledger(requisition.item)
    account = ledger.item.accounts[requisition.accounts.index(account_id)]
    return GrantedAccount(account_id, account, ledger, requisition, agreement)


def require_access(bank: Bank, granted: GrantedAccount, scope: str) -> None:
    """Raise unless an account may be read now.

    Raises
    ------
    GoCardlessError
        If the agreement has ended or has not this scope, the user must log in again, or the account is not ready.
    """
    agreement, item = granted.agreement, granted.ledger.item.number
    if agreement.has_expired(bank.today):
        days = agreement.access_valid_for_days
        expired_on = (agreement.accepted_on or bank.today) + timedelta(days=days)
        raise errors.agreement_expired(agreement.agreement_id, days=days, expired_on=expired_on)
    if scope not in agreement.access_scope:
        raise errors.GoCardlessError(
            403,
            "End User Agreement (EUA) access scope error",
            f"EUA doesn't allow access to account {scope}. Check EUA access scope. "
            "Or create new EUA with correct access scope",
        )
    if bank.changes.access(item) is Access.LOCKED:
        raise errors.account_suspended()
    if _must_log_in(bank, item):
        raise errors.access_expired(scope)
    if bank.faults.strikes_not_ready(bank.key, item):
        detail = f"Account data is currently being processed. Poll /accounts/{granted.account_id}/"
        raise errors.at_institution(scope, "AccountProcessing", detail, status=409)


def get_metadata(bank: Bank, granted: GrantedAccount) -> dict[str, Any]:
    """Return the record of an account, with its status."""
    item, created = granted.ledger.item, f"{granted.requisition.created_on}T00:00:00Z"
    status = "EXPIRED" if granted.agreement.has_expired(bank.today) else "READY"
    if status == "READY" and bank.changes.access(item.number) is Access.LOCKED:
        status = "SUSPENDED"
    return {
        "id": granted.account_id,
        "created": created,
        "last_accessed": f"{bank.today}T00:00:00Z",
        "iban": records.iban(bank.key, item, granted.account),
        "status": status,
        "institution_id": records.institution_id(item.institution),
        "owner_name": records.owner_name(item),
        "name": granted.account.name,
    }


def get_details(bank: Bank, granted: GrantedAccount) -> dict[str, Any]:
    """Return an account without its balances."""
    return {"account": records.account_details(bank.key, granted.ledger.item, granted.account)}


def get_balances(bank: Bank, granted: GrantedAccount) -> dict[str, Any]:
    """Return the balances of an account."""
    ledger = granted.ledger
    outflows = feed.end_position(ledger, feed.start_position(ledger), today=bank.today).outflows
    return {"balances": records.balances(granted.account, outflows, on=str(bank.today))}


def get_transactions(bank: Bank, granted: GrantedAccount, first: date | None, last: date | None) -> dict[str, Any]:
    """Return the transactions of a range of days, with all that are pending, back to the history of the agreement.

    Raises
    ------
    GoCardlessError
        If the range has no day.
    """
    if first and last and first > last:
        raise errors.GoCardlessError(
            400,
            "Incorrect date range",
            f"Starting date '{first}' is greater than end date '{last}'. "
            "When specifying date range, starting date must precede the end date",
        )
    ordinal, agreement = granted.account.ordinal, granted.agreement
    history = timedelta(days=agreement.max_historical_days)
    earliest = (agreement.accepted_on or bank.today) - history
    events = [
        event
        for event in listing.current_events(
            granted.ledger, first=earliest, last=bank.today, today=bank.today, accounts={ordinal}
        )
        if event.transaction.pending
        or (first or earliest) <= event.transaction.posted_at.date() <= (last or bank.today)
    ]
    sent = [each for event in events for each in _sent_twice_if_struck(bank, granted, event)]
    return {
        "transactions": records.transactions(bank, granted.ledger.item, sent),
        "last_updated": f"{bank.today}T00:00:00Z",
    }


def _must_log_in(bank: Bank, item: int) -> bool:
    return (
        bank.faults.strikes_item(bank.key, Fault.REVOKED, item)
        or bank.faults.strikes_item(bank.key, Fault.LOGIN_REQUIRED, item)
        or bank.faults.strikes(bank.key, Fault.LOGIN_REPAIRED, pack(item, bank.today.toordinal()))
    )


def _sent_twice_if_struck(bank: Bank, granted: GrantedAccount, event: Event) -> list[Event]:
    """Return a transaction, twice if that fault strikes; without an id, the second one would be another purchase."""
    has_id = any(records.transaction_ids(bank.key, granted.ledger.item, event))
    is_struck = has_id and bank.faults.strikes(bank.key, Fault.DUPLICATE, event.transaction_id.encode())
    return [event, event] if is_struck else [event]


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
