"""A login at one institution, which is what an access token opens."""

from dataclasses import dataclass

from dev.bank.world.accounts import Account
from dev.bank.world.institutions import Institution


@dataclass(frozen=True, slots=True)
class Item:
    """A login and the accounts that it shows.

    Parameters
    ----------
    number
        0 to 2**64 - 1; tokens and `user_<number>` stand for it.
    """

    number: int
    item_id: str
    institution: Institution
    accounts: tuple[Account, ...]

    @property
    def has_balances(self) -> bool:
        """Whether it is known what the accounts hold."""
        return all(account.opening_balance is not None for account in self.accounts)
