"""Access tokens of a service account, renewed before they expire (RFC 7523)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from etl.clients import http
from etl.clients.http import BodyTooLarge
from etl.json_text import DECODE_ERRORS

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
ASSERTION_LIFETIME = timedelta(hours=1)
RENEWAL_MARGIN = timedelta(minutes=5)
"""How long before its expiry a token is renewed."""

_FAILURE_COOLDOWN = timedelta(seconds=5)
"""How long a server that granted no token is not retried."""

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLIENT_ERRORS = range(400, 500)
_RETRYABLE_STATUSES = {408, 429}
_OK = 200
_MAX_BODY_SIZE = 1 << 16


class TokenUnavailable(Exception):
    """The token server grants no access token now."""


class TokenRefused(TokenUnavailable):
    """The token server permanently refuses the account or its key."""


@dataclass(frozen=True)
class ServiceAccount:
    """An account that requests tokens.

    Parameters
    ----------
    email
        Its name.
    key
        Signs its requests.
    token_url
        URL of the token server.
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
        The account.
    session
        Posts its requests.
    """

    def __init__(self, account: ServiceAccount, session: aiohttp.ClientSession) -> None:
        self._account = account
        self._session = session
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._failure: tuple[float, TokenUnavailable] | None = None

    async def get(self) -> str:
        """Return a token that is valid for a while; concurrent callers renew it once.

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
                response = await self._request_token()
            except TokenUnavailable as error:
                if self._failure is None or now >= self._failure[0]:
                    self._failure = now + _FAILURE_COOLDOWN.total_seconds(), error
                if self._token and now < self._expires_at:
                    return self._token
                raise
            self._token, self._expires_at = response.access_token, now + response.expires_in
            return self._token

    def invalidate(self, token: str) -> None:
        """Discard a token that a server no longer accepts; a newer one is kept."""
        if token == self._token:
            self._token = ""

    async def _request_token(self) -> _TokenResponse:
        try:
            async with self._session.post(
                self._account.token_url,
                data={"grant_type": _GRANT_TYPE, "assertion": self._build_assertion(int(time.time()))},
                allow_redirects=False,
            ) as response:
                status, content = response.status, await http.read_body(response, max_size=_MAX_BODY_SIZE)
        except (aiohttp.ClientError, OSError, BodyTooLarge) as error:
            raise TokenUnavailable(f"the token server: {type(error).__name__}") from None
        if status in _CLIENT_ERRORS and status not in _RETRYABLE_STATUSES:
            raise TokenRefused(f"the token server responded with status {status}")
        if status != _OK:
            raise TokenUnavailable(f"the token server responded with status {status}")
        try:
            return msgspec.json.decode(content, type=_TokenResponse)
        except DECODE_ERRORS:
            raise TokenUnavailable("the token server's response holds no token") from None

    def _build_assertion(self, now: int) -> str:
        claims = {
            "iss": self._account.email,
            "scope": SCOPE,
            "aud": self._account.token_url,
            "iat": now,
            "exp": now + int(ASSERTION_LIFETIME.total_seconds()),
        }
        return jwt.encode(claims, self._account.key, algorithm="RS256")
