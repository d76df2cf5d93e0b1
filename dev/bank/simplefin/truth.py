"""What a warehouse must hold of a user's connections, as of the bank's current day: computed from the ledgers alone."""

from datetime import date
from decimal import Decimal

from dev.bank.bank import Bank
from dev.bank.faults import Fault
from dev.bank.hostile.flaws import HUGE_AMOUNT, Flaw, emoji_name
from dev.bank.simplefin import account_set
from dev.bank.simplefin.access import User
from dev.bank.simplefin.account_set import account_id
from dev.bank.world.ledger import Change, Event

Row = dict[str, object]

_REJECTED = (Fault.WRONG_TYPE, Fault.MISSING_FIELD, Fault.INVALID_CORRECTION, Fault.BAD_POSTING)


def account_rows(bank: Bank, user: User) -> list[Row]:
    """Return the rows of the accounts that a request for balances gets today, apart from bad records."""
    rows: list[Row] = []
    for number in user.items:
        ledger = bank.ledger(number)
        connection = account_set.connection_of(ledger)
        for account in ledger.item.accounts:
            if bank.flaws_of_account(ledger.item, account) or not bank.lists_account(ledger.item, account):
                continue
            balance, available = account_set.balances(bank, ledger, account)
            rows.append(
                {
                    "connection_id": connection["conn_id"],
                    "connection_name": connection["name"],
                    "account_id": account_id(account),
                    "name": account.name,
                    "balance": balance,
                    "balance_available": balance if available is None else available,
                    "currency": account.currency.code,
                    "custom_currency": None,
                    "balance_as_of": account_set.balance_time(bank),
                }
            )
    return rows


def transaction_rows(bank: Bank, user: User) -> dict[str, Row | None]:
    """Return the row of each transaction that exists today, by id; None if its record cannot be loaded."""
    rows: dict[str, Row | None] = {}
    for number in user.items:
        ledger = bank.ledger(number)
        connection_id = account_set.connection_of(ledger)["conn_id"]
        for event in _current(bank, number):
            row = _row(event, bank.flaws_of(ledger.item, event))
            rows[f"TRN-{event.transaction_id}"] = None if row is None else {"connection_id": connection_id, **row}
    return rows


def settled(bank: Bank, user: User) -> dict[str, str]:
    """Return the pending transactions that were posted until today: id → id of the posted one."""
    return {
        f"TRN-{event.pending_id}": f"TRN-{event.transaction_id}"
        for number in user.items
        for _, events in bank.ledger(number).days(date.min, bank.today)
        for event in events
        if event.pending_id
    }


def _current(bank: Bank, number: int) -> list[Event]:
    ledger = bank.ledger(number)
    return [
        event
        for _, events in ledger.days(ledger.first_day, bank.today)
        for event in events
        if event.change is not Change.REMOVED and (event.superseded_on is None or event.superseded_on > bank.today)
    ]


def _row(event: Event, flaws: tuple[Flaw, ...]) -> Row | None:
    transaction = event.transaction
    posted_at = None if transaction.pending else transaction.posted_at.replace(microsecond=0)
    transacted_at = transaction.authorized_at.replace(microsecond=0)
    row: Row = {
        "account_id": account_id(transaction.account),
        "transaction_id": f"TRN-{event.transaction_id}",
        "amount": account_set.amount_of(event),
        "currency": transaction.account.currency.code,
        "custom_currency": None,
        "dated_on": (posted_at or transacted_at).date(),
        "posted_at": posted_at,
        "transacted_at": transacted_at,
        "pending": transaction.pending,
        "description": transaction.name,
        "payee": transaction.merchant.name if transaction.merchant else None,
        "memo": None,
    }
    for name, _ in flaws:
        fault = Fault(name)
        if fault in _REJECTED:
            return None
        row |= _effect(fault, row)
    return row


def _effect(fault: Fault, row: Row) -> Row:
    match fault:
        case Fault.HUGE_AMOUNT:
            return {"amount": HUGE_AMOUNT}
        case Fault.TINY_EXPONENT:
            return {"amount": Decimal(0)}
        case Fault.NUL_NAME:
            return {"description": None}
        case Fault.EMOJI_NAME:
            return {"description": emoji_name(str(row["description"]))}
        case Fault.BAD_OPTIONAL_FIELD:
            return {"payee": None}
    return {}
