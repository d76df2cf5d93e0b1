"""Stored tokens by the key that encrypted them, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from etl.db.connection import Connection
from etl.db.statements import StatementFile

PAGE_SIZE = 200
"""Most tokens in memory at a time."""

_SQL = StatementFile("sync/logins/token_keys")


class TokenKind(Enum):
    """Where tokens are stored."""

    LOGINS = "logins"
    """Of logins, in core.provider_accounts."""
    ACCESS = "access"
    """Access tokens of OAuth 2, in etl.provider_tokens."""
    REFRESH = "refresh"
    """Refresh tokens of clients, in etl.provider_tokens."""


@dataclass(frozen=True)
class StoredToken:
    """A token as it is stored.

    Parameters
    ----------
    owner
        The login that it is of; 0 if it is of all logins of a provider.
    provider
        The provider; empty for a token in core.provider_accounts.
    token
        The token, encrypted.
    """

    owner: int
    provider: str
    token: bytes = field(repr=False)


def count_by_key(db: Connection) -> dict[str, int]:
    """Return the number of tokens by the id of their key; empty for those of before, which name none."""
    return dict(_SQL["count_by_key"].rows(db))


def pages(db: Connection, kind: TokenKind, *, header: bytes) -> Iterator[list[StoredToken]]:
    """Yield the tokens of a kind that do not begin with a header, at most `PAGE_SIZE` at a time."""
    after, after_provider = -1, ""
    while True:
        values = {"after": after, "after_provider": after_provider, "header": header, "limit": PAGE_SIZE}
        page = _SQL[f"page_{kind.value}"].objects(db, StoredToken, values)
        if not page:
            return
        yield page
        after, after_provider = page[-1].owner, page[-1].provider


def replace(db: Connection, kind: TokenKind, tokens: Sequence[StoredToken], encrypted: Sequence[bytes]) -> int:
    """Replace tokens that have not been replaced meanwhile, and return how many were."""
    values = {
        "owners": [each.owner for each in tokens],
        "providers": [each.provider for each in tokens],
        "old": [each.token for each in tokens],
        "new": list(encrypted),
    }
    return _SQL[f"replace_{kind.value}"].run(db, values)


def find_some_token(db: Connection) -> StoredToken | None:
    """Return any token of a login; None if there is none."""
    return _SQL["find_some_token"].first(db, StoredToken)


def find_canary(db: Connection) -> bytes | None:
    """Return the known text as it is stored; None before the first."""
    return next(iter(_SQL["find_canary"].scalars(db)), None)


def set_canary(db: Connection, sealed: bytes, *, old: bytes | None) -> None:
    """Store the known text, unless another process has stored one that is not `old`."""
    _SQL["set_canary"].run(db, {"new": sealed, "old": old})
