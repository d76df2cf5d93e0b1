"""The answer to `GET /accounts`: connections, accounts and transactions, and the errors of single connections.

Source: SimpleFIN Protocol, versions 1 and 2 (simplefin.org/protocol.html, `protocol-v1.md` and `protocol-v2.md` of
github.com/simplefin/simplefin.github.com), and what SimpleFIN Bridge adds to it: `payee` and `memo`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from dev.bank.bank import Bank
from dev.bank.changes import Access
from dev.bank.faults import Fault
from dev.bank.feed import feed, listing
from dev.bank.hostile.flaws import HUGE_AMOUNT, TINY_AMOUNT, Flaw, emoji_name
from dev.bank.simplefin.access import User
from dev.bank.world.accounts import Account
from dev.bank.world.ledger import Event, Ledger
from dev.bank.world.seed import pack

MAX_RANGE = timedelta(days=90)
"""Longest range of days of one request; a longer one is capped to its last days, with an error."""

MAX_PENDING_AGE = timedelta(days=45)
"""How far before the first day pending transactions are looked for; none is pending for longer."""

_AMOUNT_NOISE = "000000000001"
_ZEROS = "0" * 39

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks for.

    Parameters
    ----------
    start, end
        Range of `posted`, without its end; None for an open one.
    has_pending, has_transactions
        Whether pending transactions, and whether any at all, are sent.
    accounts
        Ids of the accounts to send; empty for all.
    """

    start: datetime | None = None
    end: datetime | None = None
    has_pending: bool = False
    has_transactions: bool = True
    accounts: tuple[str, ...] = ()


@dataclass
class AccountSet:
    """What a user's connections hold today."""

    errors: list[Record] = field(default_factory=list)
    connections: list[Record] = field(default_factory=list)
    accounts: list[Record] = field(default_factory=list)


def read(bank: Bank, user: User, query: Query, *, subject: bytes) -> AccountSet:
    """Return what a request gets.

    Parameters
    ----------
    subject
        Identifies the request, for faults; empty if none is enabled.
    """
    answer = AccountSet()
    if query.start and query.end and query.end - query.start > MAX_RANGE:
        message = f"Requested date range exceeds limit of {MAX_RANGE.days} days and was capped."
        answer.errors.append({"code": "gen.api", "msg": message})
        query = Query(query.end - MAX_RANGE, query.end, query.has_pending, query.has_transactions, query.accounts)
    for number in user.items:
        ledger = bank.ledger(number)
        connection = connection_of(ledger)
        answer.connections.append(connection)
        if needs_login(bank, number):
            message = f"Authentication failed for {connection['name']}"
            answer.errors.append({"code": "con.auth", "msg": message, "conn_id": connection["conn_id"]})
            continue
        for account in ledger.item.accounts:
            is_asked = not query.accounts or account_id(account) in query.accounts
            if is_asked and bank.lists_account(ledger.item, account):
                _add_account(answer, bank, ledger, account, query, subject=subject)
    return answer


def needs_login(bank: Bank, item: int) -> bool:
    """Return whether a connection works only after its user has logged in at the bank again."""
    return (
        bank.changes.access(item) is Access.LOCKED
        or bank.faults.strikes_item(bank.key, Fault.LOGIN_REQUIRED, item)
        or bank.faults.strikes(bank.key, Fault.LOGIN_REPAIRED, pack(item, bank.today.toordinal()))
    )


def connection_of(ledger: Ledger) -> Record:
    """Return the connection that an item is."""
    institution = ledger.item.institution
    return {
        "conn_id": f"CON-{ledger.item.item_id}",
        "name": institution.name,
        "org_id": f"INST-{institution.institution_id}",
        "org_name": institution.name,
        "sfin_url": f"https://sfin.{institution.institution_id.replace('_', '-')}.bank.example",
    }


def account_id(account: Account) -> str:
    """Return the id of an account."""
    return f"ACT-{account.account_id}"


def balance_time(bank: Bank) -> datetime:
    """Return as of when balances are: the beginning of the bank's day."""
    return datetime.combine(bank.today, time(), UTC)


def balances(bank: Bank, ledger: Ledger, account: Account) -> tuple[Decimal, Decimal | None]:
    """Return balance and available balance of an account; what is owed is negative.

    Of accounts of which nobody knows the balance, it is the sum of their transactions, since the protocol needs one.
    """
    if account.opening_balance is None:
        every = listing.current_events(
            ledger, first=ledger.first_day, last=bank.today, today=bank.today, accounts=(account.ordinal,)
        )
        return -sum((amount_of(each) for each in every if not each.transaction.pending), Decimal(0)), None
    outflows = feed.end_position(ledger, feed.start_position(ledger), today=bank.today).outflows
    balance = feed.compute_balance(account, outflows)
    current = (balance.current or 0) * (1 if account.credit_limit is None else -1)
    available = None if balance.available is None else account.currency.to_decimal(balance.available)
    return account.currency.to_decimal(current), available


def amount_of(event: Event) -> Decimal:
    """Return the amount of a transaction in the currency of its account; positive if money left the account."""
    return event.transaction.account.currency.to_decimal(event.transaction.amount_minor)


def _add_account(
    answer: AccountSet, bank: Bank, ledger: Ledger, account: Account, query: Query, *, subject: bytes
) -> None:
    connection = answer.connections[-1]
    balance, available = balances(bank, ledger, account)
    record: Record = {
        "id": account_id(account),
        "name": account.name,
        "conn_id": connection["conn_id"],
        "conn_name": connection["name"],
        "currency": account.currency.code,
        "balance": f"{balance:f}",
        "balance-date": _epoch(balance_time(bank)),
    }
    if available is not None and available != balance:
        record["available-balance"] = f"{available:f}"
    if bank.flaws_of_account(ledger.item, account):
        record["balance"] = "unknown"
    answer.accounts.append(record)
    if not query.has_transactions:
        return
    record["transactions"] = list(_transactions(bank, ledger, account, query))
    is_short = bank.faults.strikes(bank.key, Fault.WINDOW_SHIFT, subject + record["id"].encode()) if subject else False
    if is_short and record["transactions"]:
        del record["transactions"][0]
        message = "Failed to get all transactions. Try again later."
        answer.errors.append({"code": "act.missingdata", "msg": message, "account_id": record["id"]})


def _transactions(bank: Bank, ledger: Ledger, account: Account, query: Query) -> Iterator[Record]:
    """Yield the transactions of an account in the order of `posted`: first the pending ones, whose it is 0."""
    for event in sorted(_events(bank, ledger, account, query), key=_order):
        record = _transaction(event)
        _spoil(record, bank.flaws_of(ledger.item, event))
        yield record
        if bank.faults.strikes(bank.key, Fault.DUPLICATE, event.transaction_id.encode()):
            yield record


def _events(bank: Bank, ledger: Ledger, account: Account, query: Query) -> Iterable[Event]:
    start, end = query.start or datetime.min.replace(tzinfo=UTC), query.end or datetime.max.replace(tzinfo=UTC)
    first = max(start.date(), date.min + MAX_PENDING_AGE) - MAX_PENDING_AGE
    for event in listing.current_events(
        ledger, first=first, last=bank.today, today=bank.today, accounts=(account.ordinal,)
    ):
        is_asked = query.has_pending if event.transaction.pending else start <= event.transaction.posted_at < end
        if is_asked:
            yield event


def _order(event: Event) -> tuple[bool, datetime, str]:
    transaction = event.transaction
    return (not transaction.pending, transaction.posted_at, event.transaction_id)


def _transaction(event: Event) -> Record:
    transaction = event.transaction
    record: Record = {
        "id": f"TRN-{event.transaction_id}",
        "posted": 0 if transaction.pending else _epoch(transaction.posted_at),
        "amount": f"{-amount_of(event):f}",
        "description": transaction.name,
        "payee": transaction.merchant.name if transaction.merchant else "",
        "memo": "",
        "transacted_at": _epoch(transaction.authorized_at),
    }
    if transaction.pending:
        record["pending"] = True
    return record


def _spoil(record: Record, flaws: tuple[Flaw, ...]) -> None:
    """Spoil a record as far as the protocol has what a flaw is about; currencies, for one, are those of accounts."""
    for name, way in flaws:
        match Fault(name):
            case Fault.HUGE_AMOUNT:
                record["amount"] = f"{-HUGE_AMOUNT:f}"
            case Fault.TINY_EXPONENT:
                record["amount"] = str(TINY_AMOUNT)
            case Fault.AMOUNT_NOISE:
                separator = "" if "." in record["amount"] else "."
                record["amount"] += separator + (_ZEROS if way else _AMOUNT_NOISE)
            case Fault.NUL_NAME:
                record["description"] = f"{record['description'][:4]}\0{record['description'][4:]}"
            case Fault.EMOJI_NAME:
                record["description"] = emoji_name(record["description"])
            case Fault.BAD_OPTIONAL_FIELD:
                record["payee"] = 12_345
            case Fault.WRONG_TYPE:
                record["amount"] = {"value": "twelve"}
            case Fault.MISSING_FIELD:
                del record["id"]
            case Fault.INVALID_CORRECTION | Fault.BAD_POSTING:
                record["amount"] = "twelve"


def _epoch(instant: datetime) -> int:
    return int(instant.timestamp())
