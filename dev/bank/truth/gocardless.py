"""What a warehouse must hold of an account that it reads through GoCardless, computed from the ledger alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from dev.bank.bank import Bank
from dev.bank.feed import listing
from dev.bank.gocardless import records
from dev.bank.gocardless.records import Ids
from dev.bank.truth import rows
from dev.bank.truth.rows import Row
from dev.bank.world.accounts import Account
from dev.bank.world.items import Item
from dev.bank.world.ledger import Change, Event, Ledger


@dataclass(frozen=True)
class AccountTruth:
    """What a warehouse must hold of one account.

    Parameters
    ----------
    account_id
        Its id.
    ids
        Which ids its transactions have. Without one, `transaction_id` is not in the rows.
    details
        Its row.
    live
        The rows of the transactions that the bank has today and that can be loaded.
    rejected
        Number of transactions of today that cannot be loaded.
    settled
        Id of each pending transaction that the bank had → that of the posted one; of a bank that has both.
    """

    account_id: str
    ids: Ids
    details: Row
    live: list[Row]
    rejected: int
    settled: dict[str, str]


def of_item(bank: Bank, number: int) -> list[AccountTruth]:
    """Return the truth of the accounts of an item, as of the bank's current day."""
    ledger = bank.ledger(number)
    return [_of_account(bank, ledger, account) for account in ledger.item.accounts]


def _of_account(bank: Bank, ledger: Ledger, account: Account) -> AccountTruth:
    item = ledger.item
    events = listing.current_events(
        ledger, first=ledger.first_day, last=date.max, today=bank.today, accounts={account.ordinal}
    )
    found = [_transaction_row(bank, item, event) for event in events]
    return AccountTruth(
        records.account_id(bank.key, item, account),
        records.ids_of(item.institution),
        _account_row(bank, item, account),
        [row for row in found if row is not None],
        found.count(None),
        dict(_settled(bank, ledger, account)),
    )


def _account_row(bank: Bank, item: Item, account: Account) -> Row:
    sent = records.account_details(bank.key, item, account)
    return {
        "account_id": records.account_id(bank.key, item, account),
        "iban": sent.get("iban"),
        "masked_pan": sent.get("maskedPan"),
        "currency": account.currency.code,
        "owner_name": sent["ownerName"],
        "name": account.name,
        "product": account.official_name,
        "cash_account_type": sent["cashAccountType"],
        "status": "enabled",
    }


def _transaction_row(bank: Bank, item: Item, event: Event) -> Row | None:
    """Return the row of a transaction: that of the other API, in the columns of this one."""
    loaded = rows.transaction_row(bank, item, event)
    if loaded is None:
        return None
    is_pending = event.transaction.pending
    creditor, debtor = records.parties(event.transaction, loaded["merchant_name"])
    has_codes = item.institution.sends_transaction_codes
    row: Row = {
        "account_id": records.account_id(bank.key, item, event.transaction.account),
        "amount": loaded["amount"],
        "currency": loaded["currency"],
        "dated_on": loaded["dated_on"],
        "booked_at": None if is_pending else loaded["dated_at"],
        "valued_on": loaded["dated_on"] if is_pending else loaded["authorized_on"],
        "pending": is_pending,
        "description": loaded["description"],
        "creditor_name": creditor,
        "debtor_name": debtor,
        "transaction_code": event.transaction.code.value if has_codes else None,
    }
    identity = _identity(bank, item, event)
    return row if identity is None else {"transaction_id": identity, **row}


def _settled(bank: Bank, ledger: Ledger, account: Account) -> Iterator[tuple[str, str]]:
    if records.ids_of(ledger.item.institution) not in (Ids.BOTH, Ids.INTERNAL):
        return
    pending: dict[str, Event] = {}
    for _, events in ledger.days(ledger.first_day, bank.today):
        for event in events:
            if event.transaction.pending and event.transaction.account.ordinal == account.ordinal:
                pending.setdefault(event.transaction_id, event)
            elif event.change is Change.ADDED and event.pending_id in pending:
                earlier = _identity(bank, ledger.item, pending[event.pending_id])
                later = _identity(bank, ledger.item, event)
                if earlier and later:
                    yield earlier, later


def _identity(bank: Bank, item: Item, event: Event) -> str | None:
    return next(filter(None, records.transaction_ids(bank.key, item, event)), None)
