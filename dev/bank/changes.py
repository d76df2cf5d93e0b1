"""Changes made by requests: the only state that the bank stores."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from enum import Enum

from msgspec import Struct


class CreatedTransaction(Struct, frozen=True):
    """A transaction created by request.

    Parameters
    ----------
    on
        The bank's day when it was created.
    minor
        Minor units of the first account's currency; positive when money leaves the account.
    """

    on: date
    transacted_on: date
    posted_on: date
    minor: int
    description: str


class Access(Enum):
    """Whether an item may be read."""

    OPEN = "open"
    LOCKED = "locked"
    REMOVED = "removed"


class AccessChanged(Struct, frozen=True, tag="access_changed"):
    """An item was removed, or its login was reset, or it was linked again."""

    item: int
    access: Access


class TransactionsCreated(Struct, frozen=True, tag="transactions_created"):
    """Transactions were added to an item."""

    item: int
    created: list[CreatedTransaction]


class LinkedAgain(Struct, frozen=True, tag="linked_again"):
    """An item was linked again as a new one, of the same accounts with other ids."""

    item: int
    origin: int


class SetupTokenClaimed(Struct, frozen=True, tag="setup_token_claimed"):
    """An application has claimed a setup token, which serves once."""

    code: str


class Agreement(Struct, frozen=True, kw_only=True, tag="agreement"):
    """What a user consented to, or may consent to, as it is now.

    Parameters
    ----------
    access_scope
        What may be read: `balances`, `details`, `transactions`.
    accepted_on
        The bank's day when the user accepted it; None before.
    """

    agreement_id: str
    institution_id: str
    max_historical_days: int
    access_valid_for_days: int
    access_scope: list[str]
    created_on: date
    accepted_on: date | None = None

    def has_expired(self, today: date) -> bool:
        """Return whether it was accepted and does not hold any more."""
        return self.accepted_on is not None and (today - self.accepted_on).days >= self.access_valid_for_days


class Requisition(Struct, frozen=True, kw_only=True, tag="requisition"):
    """A request for the accounts of a user, as it is now.

    Parameters
    ----------
    item
        The item whose accounts the user granted; None before.
    accounts
        Ids of these accounts, in their order.
    is_deleted
        Whether the client has given it up.
    """

    requisition_id: str
    institution_id: str
    agreement_id: str
    redirect: str
    reference: str
    created_on: date
    item: int | None = None
    accounts: list[str] = []
    is_deleted: bool = False


JournalEntry = AccessChanged | TransactionsCreated | LinkedAgain | SetupTokenClaimed | Agreement | Requisition


class Changes:
    """All changes so far, by item.

    Parameters
    ----------
    entries
        Earlier changes, oldest first.
    write
        Called with each new entry before it takes effect.
    """

    def __init__(
        self, entries: Iterable[JournalEntry] = (), write: Callable[[JournalEntry], None] | None = None
    ) -> None:
        self._access: dict[int, Access] = {}
        self._created: dict[int, list[CreatedTransaction]] = defaultdict(list)
        self._origins: dict[int, int] = {}
        self._claimed: set[str] = set()
        self._agreements: dict[str, Agreement] = {}
        self._requisitions: dict[str, Requisition] = {}
        self._requisition_of_account: dict[str, str] = {}
        self._write = write
        for entry in entries:
            self._apply(entry)

    def access(self, item: int) -> Access:
        """Return whether the item may be read."""
        return self._access.get(item, Access.OPEN)

    def created(self, item: int) -> Sequence[CreatedTransaction]:
        """Return the transactions created for the item, oldest first."""
        return self._created.get(item, ())

    def origin(self, item: int) -> int:
        """Return the item of the same accounts that was linked first; the item itself if it was linked once."""
        return self._origins.get(item, item)

    def agreement(self, agreement_id: str) -> Agreement | None:
        """Return an agreement as it is now; None if there is no such one."""
        return self._agreements.get(agreement_id)

    def requisition(self, requisition_id: str) -> Requisition | None:
        """Return a requisition as it is now; None if there is no such one."""
        found = self._requisitions.get(requisition_id)
        return None if found is None or found.is_deleted else found

    def requisition_of(self, account_id: str) -> Requisition | None:
        """Return the requisition that granted an account last; None if there is none."""
        return self.requisition(self._requisition_of_account.get(account_id, ""))

    @property
    def linked_again(self) -> int:
        """Number of items that were linked again as new ones."""
        return len(self._origins)

    def is_claimed(self, code: str) -> bool:
        """Return whether the setup token with this code was claimed."""
        return code in self._claimed

    def record(self, entry: JournalEntry) -> None:
        """Write and apply a change."""
        if self._write is not None:
            self._write(entry)
        self._apply(entry)

    def _apply(self, entry: JournalEntry) -> None:
        if isinstance(entry, TransactionsCreated):
            self._created[entry.item] += entry.created
        elif isinstance(entry, LinkedAgain):
            self._origins[entry.item] = entry.origin
        elif isinstance(entry, SetupTokenClaimed):
            self._claimed.add(entry.code)
        elif isinstance(entry, Agreement):
            self._agreements[entry.agreement_id] = entry
        elif isinstance(entry, Requisition):
            self._requisitions[entry.requisition_id] = entry
            self._requisition_of_account |= dict.fromkeys(entry.accounts, entry.requisition_id)
        elif entry.access is Access.OPEN:
            self._access.pop(entry.item, None)
        else:
            self._access[entry.item] = entry.access
