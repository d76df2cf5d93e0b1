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


JournalEntry = AccessChanged | TransactionsCreated | LinkedAgain | SetupTokenClaimed


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
        elif entry.access is Access.OPEN:
            self._access.pop(entry.item, None)
        else:
            self._access[entry.item] = entry.access
