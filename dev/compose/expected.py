"""What the sandbox bank of a container holds, counted from the bank itself and not from what was synced."""

from datetime import date

from dev.bank.bank import Bank
from dev.bank.feed import listing
from dev.servers.bank import new_sandbox


def size(users: int, *, day: date) -> dict[str, int]:
    """Return how many accounts and transactions the first customers of a bank have, a day after another.

    Parameters
    ----------
    users
        How many customers, from the first on.
    day
        On which the bank was founded, which is its today.
    """
    sandbox = new_sandbox(day)
    bank = Bank.from_seed(sandbox.seed, opened_on=sandbox.opened, today=sandbox.day)
    ledgers = [bank.ledger(number) for number in range(users)]
    accounts = [{account.ordinal for account in ledger.item.accounts} for ledger in ledgers]
    standing = (
        listing.current_events(ledger, first=date.min, last=date.max, today=day, accounts=held)
        for ledger, held in zip(ledgers, accounts, strict=True)
    )
    return {"accounts": sum(map(len, accounts)), "transactions": sum(map(len, standing))}
