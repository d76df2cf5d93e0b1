"""Number of accounts and transactions of a container's sandbox bank, counted without a sync."""

from datetime import date

from dev.bank.bank import Bank
from dev.bank.feed import listing
from dev.servers.bank import new_sandbox


def count_records(users: int, *, day: date) -> dict[str, int]:
    """Return how many accounts and transactions the first customers of a new bank have.

    Parameters
    ----------
    users
        Number of customers, from the first on.
    day
        Day on which the bank was created, which is also its current day.
    """
    sandbox = new_sandbox(day)
    bank = Bank.from_seed(sandbox.seed, opened_on=sandbox.opened, today=sandbox.day)
    ledgers = [bank.ledger(number) for number in range(users)]
    accounts = [{account.ordinal for account in ledger.item.accounts} for ledger in ledgers]
    events = (
        listing.current_events(ledger, first=date.min, last=date.max, today=day, accounts=ordinals)
        for ledger, ordinals in zip(ledgers, accounts, strict=True)
    )
    return {"accounts": sum(map(len, accounts)), "transactions": sum(map(len, events))}
