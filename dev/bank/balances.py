"""What an account holds, after what has moved and before what is about to."""

from dataclasses import dataclass

from dev.bank.accounts import Account
from dev.bank.feed import Moved


@dataclass(frozen=True, slots=True)
class Balance:
    """Minor units: held, or owed on a credit card, and free to be spent. None where nobody knows."""

    current: int | None
    available: int | None


UNKNOWN = Balance(current=None, available=None)


def balance(account: Account, moved: Moved) -> Balance:
    """Return what `account` holds; pending transactions lessen what is free, not what is held."""
    if account.opening is None:
        return UNKNOWN
    posted, pending = moved.posted[account.ordinal], moved.pending[account.ordinal]
    if account.limit is None:
        held = account.opening - posted
        return Balance(held, held - pending)
    owed = account.opening + posted
    return Balance(owed, account.limit - owed - pending)
