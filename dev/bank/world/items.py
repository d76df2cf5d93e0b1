"""An item: a login at one institution, to which an access token gives access."""

from dataclasses import dataclass

from dev.bank.world.accounts import Account
from dev.bank.world.institutions import Institution


@dataclass(frozen=True, slots=True)
class Item:
    """A login and its accounts.

    Parameters
    ----------
    number
        0 to 2**64 - 1; encoded in the item's tokens and in the user name `user_<number>`.
    """

    number: int
    item_id: str
    institution: Institution
    accounts: tuple[Account, ...]

    @property
    def has_balances(self) -> bool:
        """Whether the balances of all accounts are known."""
        return all(account.opening_balance is not None for account in self.accounts)
