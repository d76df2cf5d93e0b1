"""Access tokens of a service account, renewed before they end (RFC 7523)."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from etl.clients import http
from etl.clients.http import BodyTooLarge
from etl.json_text import DECODE_ERRORS

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
ASSERTION_LIFETIME = timedelta(hours=1)
RENEWAL_MARGIN = timedelta(minutes=5)
"""How long before its end a token is renewed."""

_FAILURE_COOLDOWN = timedelta(seconds=5)
"""How long a server that gave no token is left alone."""

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLIENT_ERRORS = range(400, 500)
_RETRYABLE_STATUSES = {408, 429}
_OK = 200


class TokenUnavailable(Exception):
    """There is no access token now."""


class TokenRefused(TokenUnavailable):
    """There is none for such an account, or such a key."""


@dataclass(frozen=True)
class ServiceAccount:
    """Who asks for tokens.

    Parameters
    ----------
    email
        Its name.
    key
        Signs its requests.
    token_url
        Where it asks.
    """

    email: str
    key: RSAPrivateKey = field(repr=False)
    token_url: str


class _TokenResponse(msgspec.Struct):
    access_token: str
    expires_in: int


class AccessTokenCache:
    """The access token of a service account.

    Parameters
    ----------
    account
        Whose.
    session
        Asks.
    """

    def __init__(self, account: ServiceAccount, session: aiohttp.ClientSession) -> None:
        self._account = account
        self._session = session
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._failure: tuple[float, TokenUnavailable] | None = None

    async def get(self) -> str:
        """Return a token that is good for a while; many who ask at the same time renew it once.

        Raises
        ------
        TokenUnavailable
            If there is none.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._token and now < self._expires_at - RENEWAL_MARGIN.total_seconds():
                return self._token
            try:
                if self._failure and now < self._failure[0]:
                    raise self._failure[1]
                granted = await self._request_token()
            except TokenUnavailable as error:
                if self._failure is None or now >= self._failure[0]:
                    self._failure = now + _FAILURE_COOLDOWN.total_seconds(), error
                if self._token and now < self._expires_at:
                    return self._token
                raise
            self._token, self._expires_at = granted.access_token, now + granted.expires_in
            return self._token

    def invalidate(self, token: str) -> None:
        """Renew a token that a server no longer takes; a newer one is kept."""
        if token == self._token:
            self._token = ""

    async def _request_token(self) -> _TokenResponse:
        try:
            async with self._session.post(
                self._account.token_url,
                data={"grant_type": _GRANT_TYPE, "assertion": self._build_assertion(int(time.time()))},
                allow_redirects=False,
            ) as answer:
                status, content = answer.status, await http.read_body(answer)
        except (aiohttp.ClientError, OSError, BodyTooLarge) as error:
            raise TokenUnavailable(f"the token server: {type(error).__name__}") from None
        if status in _CLIENT_ERRORS and status not in _RETRYABLE_STATUSES:
            raise TokenRefused(f"the token server answered {status}")
        if status != _OK:
            raise TokenUnavailable(f"the token server answered {status}")
        try:
            return msgspec.json.decode(content, type=_TokenResponse)
        except DECODE_ERRORS:
            raise TokenUnavailable("the token server answered without a token") from None

    def _build_assertion(self, now: int) -> str:
        claims = {
            "iss": self._account.email,
            "scope": SCOPE,
            "aud": self._account.token_url,
            "iat": now,
            "exp": now + int(ASSERTION_LIFETIME.total_seconds()),
        }
        signed = b".".join(_base64url(msgspec.json.encode(part)) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        signature = self._account.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return b".".join((signed, _base64url(signature))).decode()


def _base64url(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")
