"""The keys of tokens: whether a process has those of its warehouse, what each encrypted, and rotation."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from etl.db.connection import Connection
from etl.errors import PermanentError, TokenUnreadable
from etl.sync.logins.provider_tokens import bound_provider
from etl.sync.logins.store import token_keys
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.logins.store.token_keys import StoredToken, TokenKind
from etl.sync.provider.authorization import ALL_LOGINS

UNBOUND = ""
"""Id in place of that of a key, for tokens of before, which name none."""
_CANARY = "sluice"

log = logging.getLogger(__name__)


class WrongKeys(PermanentError):
    """None of the keys of a process is that of its warehouse."""

    def __init__(self) -> None:
        super().__init__(
            "none of the SLUICE_KEYS opens what this warehouse was written with, so that no login could be read, and "
            "one that is linked now could be read by nobody else; nothing was done. Set the keys that the other "
            "processes have."
        )


@dataclass(frozen=True)
class KeyUse:
    """What a key has encrypted.

    Parameters
    ----------
    key_id
        Its id; `UNBOUND` for tokens of before.
    position
        1-based position in SLUICE_KEYS; None if it is not there.
    tokens
        Number of tokens.
    """

    key_id: str
    position: int | None
    tokens: int

    @property
    def is_missing(self) -> bool:
        """Whether tokens need a key that is not there."""
        return self.position is None and self.key_id != UNBOUND and self.tokens > 0


@dataclass(frozen=True)
class Rotation:
    """What a rotation did.

    Parameters
    ----------
    replaced
        Tokens that the first key encrypts now.
    unreadable
        Logins whose tokens no key decrypts; they stay as they are.
    """

    replaced: int
    unreadable: list[int]


def require_keys(db: Connection, cipher: TokenCipher) -> None:
    """Refuse keys that are not those of the warehouse, by a known text that the first process has stored there.

    Raises
    ------
    WrongKeys
        If none of them opens it.
    """
    sealed = token_keys.find_canary(db)
    try:
        if sealed is not None:
            cipher.decrypt(sealed, provider_account_id=ALL_LOGINS, provider=_CANARY)
        elif (some := token_keys.find_some_token(db)) is not None:
            _decrypt(cipher, some)
    except TokenUnreadable:
        raise WrongKeys from None
    if sealed is None:
        _store_canary(db, cipher, old=None)


def count_use(db: Connection, cipher: TokenCipher) -> list[KeyUse]:
    """Return what each key of a process, and any other, has encrypted."""
    counts = token_keys.count_by_key(db)
    positions = {key_id: position for position, key_id in enumerate(cipher.key_ids, start=1)}
    others = [key_id for key_id in counts if key_id not in positions]
    return [KeyUse(key_id, positions.get(key_id), counts.get(key_id, 0)) for key_id in (*positions, *others)]


def rotate(db: Connection, cipher: TokenCipher) -> Rotation:
    """Encrypt all tokens with the first key, a page at a time, while other processes go on.

    It can be interrupted and repeated. A token that another process replaces meanwhile stays as that process wrote it.

    Raises
    ------
    WrongKeys
        If none of the keys is that of the warehouse.
    """
    require_keys(db, cipher)
    replaced = 0
    unreadable: set[int] = set()
    for kind in TokenKind:
        for page in token_keys.pages(db, kind, header=cipher.header):
            tokens, encrypted = [], []
            for each in page:
                try:
                    token = _decrypt(cipher, each)
                except TokenUnreadable as error:
                    log.warning("%s", error)
                    unreadable.add(each.owner)
                    continue
                tokens.append(each)
                encrypted.append(cipher.encrypt(token, provider_account_id=each.owner, provider=_provider_of(each)))
            replaced += token_keys.replace(db, kind, tokens, encrypted)
    _store_canary(db, cipher, old=token_keys.find_canary(db))
    return Rotation(replaced, sorted(unreadable))


def _store_canary(db: Connection, cipher: TokenCipher, *, old: bytes | None) -> None:
    sealed = cipher.encrypt(_CANARY, provider_account_id=ALL_LOGINS, provider=_CANARY)
    token_keys.set_canary(db, sealed, old=old)


def _decrypt(cipher: TokenCipher, stored: StoredToken) -> str:
    return cipher.decrypt(stored.token, provider_account_id=stored.owner, provider=_provider_of(stored))


def _provider_of(stored: StoredToken) -> str:
    return bound_provider(stored.provider, stored.owner)
