"""Tokens of OAuth 2, encrypted, of the client or of a login; shared by all workers, and renewed by one at a time."""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.authorization import ALL_LOGINS, REFRESH_TOKEN_LOST, Claim, IssuedToken, StoredToken

EXPIRY_MARGIN = timedelta(seconds=60)
"""Time before its end in which a token is not used any more."""

_SQL = StatementFile("sync/logins/provider_tokens")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Row:
    access_token: bytes | None = field(repr=False)
    refresh_token: bytes | None = field(repr=False)
    may_be_lost: bool = False
    version: int | None = None


@dataclass(frozen=True)
class _ClaimRow:
    until: datetime
    is_lost: bool


class ProviderTokens:
    """The tokens in the warehouse.

    Parameters
    ----------
    db
        The warehouse.
    cipher
        Encrypts and decrypts them.
    """

    def __init__(self, db: Connection, cipher: TokenCipher) -> None:
        self._db = db
        self._cipher = cipher

    def find(self, provider: str, owner: int) -> StoredToken:
        """Return the tokens that are stored for a login, or for all logins of a provider."""
        values = {"provider": provider, "owner": owner, "margin": EXPIRY_MARGIN}
        row = _SQL["find" if owner == ALL_LOGINS else "find_of_login"].first(self._db, _Row, values)
        if row is None:
            return StoredToken(None, None)
        access_token, refresh_token = (
            self._decrypt(each, provider, owner) for each in (row.access_token, row.refresh_token)
        )
        return StoredToken(access_token, refresh_token, row.may_be_lost, row.version)

    def claim_renewal(self, provider: str, owner: int, lease: timedelta) -> Claim | None:
        """Return a claim if the caller may renew a token; nobody else may until it is saved, or the lease is over.

        A lease that is over was that of a renewal whose response was never saved.
        """
        values = {"provider": provider, "owner": owner, "lease": lease}
        row = _SQL["claim_renewal"].first(self._db, _ClaimRow, values)
        if row is not None and row.is_lost and owner != ALL_LOGINS:
            log.warning(
                "%s: a renewal of the token of login %d died; if the provider has replaced its refresh token, it stops "
                "as %s, and its user must link it again",
                provider,
                owner,
                REFRESH_TOKEN_LOST,
            )
        return None if row is None else Claim(row.until)

    def save(self, provider: str, owner: int, token: IssuedToken, claim: Claim) -> None:
        """Store a token; that of a login with its new refresh token, if there is one, in one transaction.

        Nothing is stored if another worker has the claim now, and no refresh token if the login was linked again.
        """
        values = {
            "provider": provider,
            "owner": owner,
            "access_token": self._encrypt(token.access_token, provider, owner),
            "refresh_token": self._encrypt(token.refresh_token, provider, owner),
            "lifetime": token.lifetime,
            "claimed_until": claim.until,
            "version": claim.version,
        }
        with self._db.transaction():
            is_claimed = _SQL["save"].scalars(self._db, values)
            if is_claimed and owner != ALL_LOGINS and token.refresh_token is not None:
                _SQL["replace_refresh_token"].run(self._db, values)
        if not is_claimed:
            log.warning("%s: a token of login %d came after another worker had begun to renew it", provider, owner)

    def discard(self, provider: str, owner: int, access_token: str) -> None:
        """Forget an access token that the provider does not accept any more, unless it was replaced meanwhile."""
        values = {"provider": provider, "owner": owner}
        for stored in _SQL["find_current"].scalars(self._db, values):
            if self._decrypt(stored, provider, owner) == access_token:
                _SQL["discard"].run(self._db, {**values, "stored": stored})

    def give_up_renewal(self, provider: str, owner: int, claim: Claim, *, is_answered: bool) -> None:
        """End a claim, if it is still the caller's, without a token.

        If its request was not answered, a refresh token may be lost.
        """
        values = {
            "provider": provider,
            "owner": owner,
            "is_answered": is_answered,
            "claimed_until": claim.until,
            "version": claim.version,
        }
        _SQL["give_up_renewal"].run(self._db, values)

    def _encrypt(self, token: str | None, provider: str, owner: int) -> bytes | None:
        if token is None:
            return None
        return self._cipher.encrypt(token, provider_account_id=owner, provider=bound_provider(provider, owner))

    def _decrypt(self, token: bytes | None, provider: str, owner: int) -> str | None:
        if token is None:
            return None
        return self._cipher.decrypt(token, provider_account_id=owner, provider=bound_provider(provider, owner))


def bound_provider(provider: str, owner: int) -> str:
    """Return the provider that a token is bound to; that of a login is bound to the login alone."""
    return provider if owner == ALL_LOGINS else ""
