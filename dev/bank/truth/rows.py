"""The rows that correct records of the bank are loaded as, by name of column."""

from datetime import UTC, datetime, time

from dev.bank.bank import Bank
from dev.bank.feed import feed
from dev.bank.hostile import flaws
from dev.bank.world.accounts import Account
from dev.bank.world.items import Item
from dev.bank.world.ledger import Event, Ledger

Row = dict[str, object]


def transaction_row(bank: Bank, item: Item, event: Event) -> Row | None:
    """Return the row of a transaction as it is after `event`; None if its record cannot be loaded."""
    transaction = event.transaction
    has_times = item.institution.sends_transaction_codes
    merchant = transaction.merchant
    row: Row = {
        "account_id": transaction.account.account_id,
        "transaction_id": event.transaction_id,
        "amount": transaction.currency.to_decimal(transaction.amount_minor),
        "currency": transaction.currency.code,
        "unofficial_currency": None,
        "dated_on": transaction.posted_at.date(),
        "dated_at": transaction.posted_at if has_times else None,
        "authorized_on": transaction.authorized_at.date(),
        "authorized_at": transaction.authorized_at if has_times else None,
        "pending": transaction.pending,
        "pending_transaction_id": event.pending_id,
        "description": transaction.name,
        "merchant_name": merchant.name if merchant else None,
        "merchant_entity_id": merchant.entity_id if merchant else None,
        "payment_channel": transaction.channel.value,
        "category": transaction.category.primary.value,
        "category_detail": transaction.category.detailed,
    }
    return flaws.row_of(row, bank.flaws_of(item, event))


def merchant_row(bank: Bank, item: Item, event: Event) -> Row | None:
    """Return the row of the merchant that a transaction names; None if it names none."""
    merchant = event.transaction.merchant
    if merchant is None:
        return None
    has_bad_category = any("category" in flaws.null_columns(flaw) for flaw in bank.flaws_of(item, event))
    return {
        "entity_id": merchant.entity_id,
        "name": merchant.name,
        "type": "merchant",
        "website": merchant.website,
        "category": None if has_bad_category else event.transaction.category.primary.value,
        "named_on": event.transaction.posted_at.date(),
    }


def account_rows(bank: Bank, ledger: Ledger) -> dict[str, Row]:
    """Return the rows of an item's accounts as of today, by account id."""
    outflows = feed.end_position(ledger, feed.start_position(ledger), today=bank.today).outflows
    has_times = ledger.item.institution.sends_balance_times
    as_of = datetime.combine(bank.today, time(), UTC) if has_times else None
    return {account.account_id: _account_row(account, outflows, as_of) for account in ledger.item.accounts}


def _account_row(account: Account, outflows: feed.Outflows, as_of: datetime | None) -> Row:
    balance = feed.compute_balance(account, outflows)
    kind, subtype = account.kind.value
    amounts = {
        "balance_current": balance.current,
        "balance_available": balance.available,
        "balance_limit": account.credit_limit,
    }
    return {
        "account_id": account.account_id,
        "name": account.name,
        "official_name": account.official_name,
        "mask": account.mask,
        "type": kind,
        "subtype": subtype,
        "currency": account.currency.code,
        "unofficial_currency": None,
        "persistent_id": account.persistent_id,
        "balance_as_of": as_of,
        **{name: None if minor is None else account.currency.to_decimal(minor) for name, minor in amounts.items()},
    }
