"""Provider accounts: one login of a user at a bank, with its encrypted access token."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from psycopg.rows import class_row, scalar_row

from etl.chunking import Chunk
from etl.db.connection import Connection
from etl.db.statements import statement
from etl.errors import PermanentError
from etl.sync.store.token_cipher import TokenCipher

PAGE_SIZE = 200
"""Accounts that are held in memory at a time."""


class ItemOfOtherUser(PermanentError):
    """A login is somebody else's already."""

    def __init__(self, provider: str, item_id: str, user: str) -> None:
        super().__init__(
            f"{provider}: item {item_id} is enrolled for another user than {user!r}; see who links whose bank account."
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
        Whether the feed is to be read from its beginning all the same.
    """

    provider_account_id: int
    access_token: bytes = field(repr=False)
    cursor: str
    needs_full_read: bool


def enrol(db: Connection, cipher: TokenCipher, *, provider: str, user: str, item_id: str, access_token: str) -> int:
    """Add a login, or renew the token of a known one, and return its provider account id.

    Raises
    ------
    ItemTaken
        If the login is another user's.
    """
    values = {
        "provider": provider,
        "user": user,
        "item_id": item_id,
        "access_token": cipher.encrypt(access_token),
    }
    with db.cursor(row_factory=scalar_row) as cursor:
        provider_account_id = cursor.execute(statement("sync/provider_accounts", "enrol"), values).fetchone()
    if provider_account_id is None:
        raise ItemOfOtherUser(provider, item_id, user)
    return int(provider_account_id)


def read_pages(db: Connection, chunk: Chunk, *, provider: str, feed: str) -> Iterator[list[ProviderAccount]]:
    """Yield the active accounts of a chunk in id order, at most `PAGE_SIZE` at a time, however wide the chunk is."""
    start = chunk.start
    while True:
        bounds = {"provider": provider, "feed": feed, "start": start, "stop": chunk.stop, "limit": PAGE_SIZE}
        with db.cursor(row_factory=class_row(ProviderAccount)) as cursor:
            accounts = cursor.execute(statement("sync/provider_accounts", "page"), bounds).fetchall()
        if not accounts:
            return
        yield accounts
        start = accounts[-1].provider_account_id + 1


def stop(db: Connection, account: ProviderAccount, *, reason: str) -> None:
    """Leave an account alone until it is enrolled again, unless it was since its token was read.

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
    db.execute(statement("sync/provider_accounts", "stop"), values)
