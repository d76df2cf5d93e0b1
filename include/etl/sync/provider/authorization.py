"""Authorization of requests, as a provider declares it; tokens of OAuth 2 are fetched, shared and renewed."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from etl.declare.api.auth import (
    RENEWAL_LEASE,
    AccessUrl,
    ApiKey,
    BasicAuth,
    ClientCredentials,
    Place,
    RefreshToken,
    TokenHeader,
    TokenRequest,
)
from etl.declare.api.request import Placeholder, Text
from etl.declare.provider import ErrorAction, Provider
from etl.errors import ProviderRefused, ProviderUrlInvalid
from etl.json_text import DECODE_ERRORS
from etl.settings import Endpoint
from etl.sync.provider.failures import ProviderCallFailed, texts_at
from etl.sync.provider.requests import Values, fill_value, is_sendable
from etl.sync.provider.uninterrupted import uninterrupted

REFRESH_TOKEN_LOST = "REFRESH_TOKEN_LOST"  # noqa: S105 - an error code
"""Code of a login whose provider refuses its refresh token, after a renewal whose response was never saved."""

ALL_LOGINS = 0
"""Stands for the client in place of a provider account, where one token serves all logins."""

MAX_LIFETIME = timedelta(days=366)
"""Longest time for which an access token is used, whatever a response says."""

_MAX_DIGITS = 12
_POLL_INTERVAL = 0.2
"""Seconds between two looks for a token that another worker renews."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredToken:
    """A token of OAuth 2, as stored.

    Parameters
    ----------
    access_token
        The access token; None if there is none that is still valid.
    refresh_token
        The token to get the next one with; None if there is none that is still valid.
    may_be_lost
        Whether a renewal had begun whose response was never saved, so that the provider may have replaced the refresh
        token.
    version
        Which link of the login the refresh token came from; None for `ALL_LOGINS`.
    """

    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    may_be_lost: bool = False
    version: int | None = None


@dataclass(frozen=True)
class Claim:
    """The right of one worker to renew a token.

    Parameters
    ----------
    until
        When it ends; no other claim of the token ends then, so that it also tells whose claim is stored.
    version
        Version of the stored token that is renewed, once it is read.
    """

    until: datetime
    version: int | None = None


@dataclass(frozen=True)
class IssuedToken:
    """A token of OAuth 2, as the provider issued it.

    Parameters
    ----------
    access_token, refresh_token
        The tokens; without a new refresh token, the stored one stays valid.
    lifetime
        How long the access token is valid.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    lifetime: timedelta


class TokenStore(Protocol):
    """Keeps tokens, encrypted, for all workers; a token belongs to a provider account or to `ALL_LOGINS`."""

    def find(self, provider: str, owner: int) -> StoredToken:
        """Return what is stored."""

    def claim_renewal(self, provider: str, owner: int, lease: timedelta) -> Claim | None:
        """Return a claim if the caller may renew a token; nobody else may until it is saved, or the lease is over.

        A lease that is over was that of a renewal whose response was never saved.
        """

    def save(self, provider: str, owner: int, token: IssuedToken, claim: Claim) -> None:
        """Store a token; one of a login with its new refresh token, in one transaction.

        Nothing is stored if another worker has the claim now, and no refresh token if the login was linked again.
        """

    def discard(self, provider: str, owner: int, access_token: str) -> None:
        """Forget an access token that the provider does not accept any more."""

    def give_up_renewal(self, provider: str, owner: int, claim: Claim, *, is_answered: bool) -> None:
        """End a claim, if it is still the caller's, without a token.

        If its request was not answered, a refresh token may be lost.
        """


@dataclass(frozen=True)
class Authorization:
    """What a request of one login needs beside its own fields.

    Parameters
    ----------
    base_url
        Address that its path follows.
    values
        Values of the placeholders that stand for credentials.
    headers, query
        Headers and parameters to add.
    """

    base_url: str
    values: Values = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


SendTokenRequest = Callable[[TokenRequest, Values], Awaitable[bytes]]
"""Sends a request for a token, and returns the body of its response."""


class Authorizer:
    """Authorizes the requests to one provider.

    Parameters
    ----------
    provider, endpoint
        Its declaration, and its address and client credentials.
    tokens
        Keeps the tokens of OAuth 2; None if the provider uses none.
    send
        Sends token requests.
    """

    def __init__(
        self, provider: Provider, endpoint: Endpoint, tokens: TokenStore | None, send: SendTokenRequest
    ) -> None:
        self._provider = provider
        self.base_url = endpoint.host.rstrip("/")
        self._credentials: dict[Placeholder, object] = {
            Placeholder.CLIENT_ID: endpoint.login,
            Placeholder.CLIENT_SECRET: endpoint.password,
        }
        self._tokens = tokens
        self._send = send
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def renews_tokens(self) -> bool:
        """Whether a request that is refused as unauthorized may succeed with another token."""
        return isinstance(self._provider.auth, ClientCredentials | RefreshToken)

    async def authorize(self, values: Values, provider_account_id: int) -> Authorization:
        """Return what a request needs, with a valid token.

        Parameters
        ----------
        values
            Values of the placeholders, with the stored token of the login, if it has one.

        Raises
        ------
        ProviderCallFailed
            If no token can be had now.
        ProviderRefused
            If the provider refuses one, or the login's address is not on the host of the connection.
        """
        values = {**self._credentials, **values}
        match self._provider.auth:
            case AccessUrl():
                return self._authorize_by_url(values)
            case ClientCredentials() | RefreshToken() as auth:
                owner = ALL_LOGINS if isinstance(auth, ClientCredentials) else provider_account_id
                values = {**values, Placeholder.ACCESS_TOKEN: await self._valid_token(auth, owner, values)}
                headers = {auth.header: self._fill(auth.text, values)}
            case TokenHeader(text, header):
                headers = {header: self._fill(text, values)}
            case BasicAuth(username, password):
                headers = _basic(self._fill(username, values), self._fill(password, values))
            case ApiKey(name, place, value):
                key = {name: self._fill(value, values)}
                if place is Place.QUERY:
                    return Authorization(self.base_url, values, {}, key)
                headers = key
            case None:
                headers = {}
        return Authorization(self.base_url, values, headers)

    def discard_token(self, authorization: Authorization, provider_account_id: int) -> None:
        """Forget the token of a request that was refused as unauthorized."""
        owner = ALL_LOGINS if isinstance(self._provider.auth, ClientCredentials) else provider_account_id
        if self._tokens is not None:
            self._tokens.discard(self._provider.name, owner, str(authorization.values[Placeholder.ACCESS_TOKEN]))

    def require_own_host(self, url: str) -> None:
        """Refuse a URL that is not on the host of the connection.

        Raises
        ------
        ProviderRefused
            If it is on another; the URL is not shown, since it may hold a password.
        """
        if not is_same_origin(url, self.base_url):
            raise ProviderRefused(self._provider.name, f"names an address that is not on {_origin_text(self.base_url)}")

    def _authorize_by_url(self, values: Values) -> Authorization:
        url = str(values.get(Placeholder.ACCESS_TOKEN, ""))
        self.require_own_host(url)
        parts = urlsplit(url)
        base_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        values = {name: value for name, value in values.items() if name is not Placeholder.ACCESS_TOKEN}
        return Authorization(base_url, values, _basic(unquote(parts.username or ""), unquote(parts.password or "")))

    def _fill(self, value: Placeholder | Text, values: Values) -> str:
        filled = fill_value(value, values)
        if filled is None:
            raise ProviderRefused(
                self._provider.name,
                f"needs {value.template if isinstance(value, Text) else value.value} in each request, which neither "
                "its connection nor the login has",
            )
        return str(filled)

    async def _valid_token(self, auth: ClientCredentials | RefreshToken, owner: int, values: Values) -> str:
        tokens = self._tokens
        if tokens is None:
            raise ProviderRefused(self._provider.name, "needs a token, but nothing keeps tokens here")
        async with self._locks[owner]:
            while True:
                stored = tokens.find(self._provider.name, owner)
                if stored.access_token is not None:
                    return stored.access_token
                if claim := tokens.claim_renewal(self._provider.name, owner, RENEWAL_LEASE):
                    break
                await asyncio.sleep(_POLL_INTERVAL)
            # A response that is not saved may take the only valid refresh token with it.
            return await uninterrupted(self._renew(auth, tokens, owner, values, claim))

    async def _renew(
        self, auth: ClientCredentials | RefreshToken, tokens: TokenStore, owner: int, values: Values, claim: Claim
    ) -> str:
        """Request a token, store it, and return it; the caller has claimed its renewal."""
        is_answered = True
        try:
            # Read again: another worker may have replaced the refresh token since.
            stored = tokens.find(self._provider.name, owner)
            claim = replace(claim, version=stored.version)
            is_answered = False
            try:
                issued = await self._request_token(auth, stored, values)
            except (ProviderRefused, ProviderCallFailed) as failure:
                is_answered = isinstance(failure, ProviderRefused) or failure.action is not ErrorAction.RETRY
                if is_answered and stored.may_be_lost and isinstance(auth, RefreshToken):
                    raise ProviderCallFailed(ErrorAction.STOP_ACCOUNT, REFRESH_TOKEN_LOST) from failure
                raise
            tokens.save(self._provider.name, owner, issued, claim)
        except BaseException:
            tokens.give_up_renewal(self._provider.name, owner, claim, is_answered=is_answered)
            raise
        return issued.access_token

    async def _request_token(
        self, auth: ClientCredentials | RefreshToken, stored: StoredToken, values: Values
    ) -> IssuedToken:
        values = {name: value for name, value in values.items() if name is not Placeholder.ACCESS_TOKEN}
        if stored.refresh_token is not None:
            values = {**values, Placeholder.REFRESH_TOKEN: stored.refresh_token}
        if isinstance(auth, ClientCredentials) and auth.refresh is not None and stored.refresh_token is not None:
            try:
                return self._parse(auth.refresh, await self._send(auth.refresh, values))
            except (ProviderRefused, ProviderCallFailed):
                log.info("%s: the token cannot be refreshed; a new one is requested", self._provider.name)
        try:
            return self._parse(auth.token, await self._send(auth.token, values))
        except ProviderCallFailed as failure:
            if isinstance(auth, RefreshToken) or failure.action is ErrorAction.RETRY:
                raise
            # The token is that of all logins, and none of them is to be stopped for it.
            raise ProviderRefused(self._provider.name, f"{auth.token.path} answered {failure.code}") from None

    def _parse(self, request: TokenRequest, body: bytes) -> IssuedToken:
        try:
            document = msgspec.json.decode(body)
        except DECODE_ERRORS:
            document = None
        access_token = _first(document, request.access_token)
        if access_token is None or not is_sendable(access_token):
            what = "without a token" if access_token is None else "with an unusable token"
            raise ProviderCallFailed(ErrorAction.RETRY, f"{request.path} answered {what} at {request.access_token}")
        seconds = _first(document, request.expires_in)
        lifetime = request.lifetime
        if seconds and seconds.isdecimal():
            lifetime = timedelta(seconds=int(seconds)) if len(seconds) <= _MAX_DIGITS else MAX_LIFETIME
        return IssuedToken(access_token, _first(document, request.refresh_token), min(lifetime, MAX_LIFETIME))


def is_same_origin(url: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port."""
    return _origin(url) is not None and _origin(url) == _origin(other)


def require_url(provider: Provider, endpoint: Endpoint) -> None:
    """Refuse a connection whose host is no URL.

    Raises
    ------
    ProviderUrlInvalid
        If it is none.
    """
    if not endpoint.host.startswith(("http://", "https://")):
        raise ProviderUrlInvalid(provider.connection, endpoint.host)


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.scheme in ("http", "https") and parts.hostname else None


def _origin_text(url: str) -> str:
    origin = _origin(url)
    return f"{origin[0]}://{origin[1]}:{origin[2]}" if origin else "the host of its connection"


def _basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{username}:{password}'.encode()).decode('ascii')}"}


def _first(document: Any, path: str | None) -> str | None:  # noqa: ANN401 - any JSON
    return next((text for text in texts_at(document, path) if text), None) if path else None
