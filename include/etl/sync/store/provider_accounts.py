"""Provider accounts: logins of users at banks, each with its encrypted access token."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from etl.chunking import Chunk
from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.errors import PermanentError
from etl.sync.store.token_cipher import TokenCipher

PAGE_SIZE = 200
"""Most accounts in memory at a time."""

_SQL = StatementFile("sync/provider_accounts")


class ItemOfOtherUser(PermanentError):
    """A login is enrolled for another user."""

    def __init__(self, provider: str, item_id: str, user: str) -> None:
        super().__init__(
            f"{provider}: item {item_id} is enrolled for another user than {user!r}; "
            "check which user links this bank account."
        )


@dataclass(frozen=True)
class ProviderAccount:
    """An account to sync.

    Parameters
    ----------
    provider_account_id
        Its surrogate id.
    access_token
        Its access token, encrypted; see `TokenCipher`.
    cursor
        How far the feed was loaded; empty if never.
    needs_full_read
        Whether the feed must be read from its beginning in spite of its cursor.
    generation
        Generation of the cursor, which grows with each load of the feed.
    """

    provider_account_id: int
    access_token: bytes = field(repr=False)
    cursor: str
    needs_full_read: bool
    generation: int = 0


def enrol(db: Connection, cipher: TokenCipher, *, provider: str, user: str, item_id: str, access_token: str) -> int:
    """Add a login, or replace the token of an enrolled one, and return its provider account id.

    Raises
    ------
    ItemOfOtherUser
        If the login is enrolled for another user.
    """
    values = {
        "provider": provider,
        "user": user,
        "item_id": item_id,
        "access_token": cipher.encrypt(access_token),
    }
    provider_account_ids = _SQL["enrol"].scalars(db, values)
    if not provider_account_ids:
        raise ItemOfOtherUser(provider, item_id, user)
    return int(provider_account_ids[0])


def read_pages(db: Connection, chunk: Chunk, *, provider: str, feed: str) -> Iterator[list[ProviderAccount]]:
    """Yield the active accounts of a chunk in id order, at most `PAGE_SIZE` at a time."""
    start = chunk.start
    while True:
        bounds = {"provider": provider, "feed": feed, "start": start, "stop": chunk.stop, "limit": PAGE_SIZE}
        accounts = _SQL["page"].objects(db, ProviderAccount, bounds)
        if not accounts:
            return
        yield accounts
        start = accounts[-1].provider_account_id + 1


def stop(db: Connection, account: ProviderAccount, *, reason: str) -> None:
    """Stop syncing an account until it is enrolled again; do nothing if that happened after its token was read.

    Parameters
    ----------
    reason
        The provider's error code.
    """
    values = {
        "provider_account_id": account.provider_account_id,
        "access_token": account.access_token,
        "reason": reason,
    }
    _SQL["stop"].run(db, values)
