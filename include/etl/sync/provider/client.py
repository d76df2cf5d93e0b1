"""Requests to a provider: authorised, within its limits, retried where its rules say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import aiohttp
import msgspec
import stamina

from etl.clients import http
from etl.clients.http import BodyTooLarge
from etl.clients.rate_limits import Bucket, Limiter
from etl.declare.provider import ErrorAction, LimitScope, Placeholder, Provider, RateLimit
from etl.errors import ProviderRefused, ProviderUrlInvalid
from etl.settings import Endpoint

Parsed = TypeVar("Parsed")

MAX_WAIT_IN_TASK = timedelta(minutes=1)
"""The longest wait that is slept inside a task; told a longer one, the client refuses the call, and says how long."""

_REDIRECT = 300
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429


class ProviderCallFailed(Exception):
    """The provider answered in a way that asks for an action other than going on.

    Parameters
    ----------
    action
        What its rules say to do.
    code
        Its error code, or what was found instead of an answer.
    retry_after
        Time after which it wants to be asked again, if it said so.
    """

    def __init__(self, action: ErrorAction, code: str, retry_after: timedelta | None = None) -> None:
        super().__init__(f"{code} ({action.value})")
        self.action = action
        self.code = code
        self.retry_after = retry_after


class ProviderClient:
    """Asks one provider.

    Parameters
    ----------
    provider
        Its declaration.
    endpoint
        Its base URL (host), client id (login) and client secret (password).
    limiter
        The limits that all workers share.
    session
        An open session; see `open_client`.
    """

    def __init__(
        self, provider: Provider, endpoint: Endpoint, limiter: Limiter, session: aiohttp.ClientSession
    ) -> None:
        self.provider = provider
        self._endpoint = endpoint
        self._limiter = limiter
        self._session = session

    async def post(
        self,
        path: str,
        request: Mapping[str, object],
        *,
        parse: Callable[[bytes], Parsed],
        limits: Sequence[RateLimit] = (),
        feed: str = "",
        provider_account_id: int = 0,
    ) -> Parsed:
        """Return what `parse` makes of the answer's body.

        Parameters
        ----------
        path, request
            Endpoint and JSON body.
        parse
            Takes the body, as sent; one refused with `ProviderCallFailed` is treated like any other refusal.
        limits
            What the call counts against, for this `feed` and `provider_account_id`.

        Raises
        ------
        Refused
            If the answer, after the retries that it asks for, asks for another action or still for a retry.
        ProviderRefused
            If no rule covers the answer.
        """
        buckets = [self._bucket(limit, feed, provider_account_id) for limit in limits]

        async def ask() -> Parsed:
            await self._wait_for_limits(buckets)
            return parse(await self._send(path, request))

        retrying = stamina.AsyncRetryingCaller(
            attempts=self.provider.retries + 1, timeout=None, wait_initial=0.5, wait_max=30.0
        )
        return await retrying(_retry_delay, ask)

    async def _wait_for_limits(self, buckets: Sequence[Bucket]) -> None:
        if not buckets:
            return
        while True:
            wait = await asyncio.to_thread(self._limiter.take, buckets)
            if not wait:
                return
            if wait > MAX_WAIT_IN_TASK:
                raise ProviderCallFailed(ErrorAction.RETRY, "a declared limit that is used up", wait)
            await asyncio.sleep(wait.total_seconds())

    async def _send(self, path: str, request: Mapping[str, object]) -> bytes:
        body = msgspec.json.encode(request)
        try:
            # A redirect would carry the secrets wherever it points to.
            async with self._session.post(
                self._endpoint.host.rstrip("/") + path, data=body, allow_redirects=False
            ) as answer:
                content = await http.read_body(answer)
        except BodyTooLarge as error:
            raise ProviderCallFailed(ErrorAction.RETRY, str(error)) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProviderCallFailed(ErrorAction.RETRY, type(error).__name__) from None
        if answer.status >= _REDIRECT:
            raise self._to_error(path, answer.status, content, answer.headers.get("Retry-After"))
        return content

    def _to_error(self, path: str, status: int, content: bytes, retry_after: str | None) -> Exception:
        error = http.parse_error(content)
        code = error.error_code or f"HTTP {status}"
        wait = http.parse_retry_after(retry_after, now=datetime.now(UTC))
        for rule in self.provider.errors:
            expected = (rule.status, rule.error_type, rule.error_code)
            found = (status, error.error_type, error.error_code)
            if all(want in (None, have) for want, have in zip(expected, found, strict=True)):
                return ProviderCallFailed(rule.action, code, wait)
        if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:
            return ProviderCallFailed(ErrorAction.RETRY, code, wait)
        return ProviderRefused(self.provider.name, f"{path} answered {code}, HTTP {status}")

    def _bucket(self, limit: RateLimit, feed: str, provider_account_id: int) -> Bucket:
        whose = "client" if limit.scope is LimitScope.CLIENT else f"account:{provider_account_id}"
        return Bucket(f"limit:{self.provider.name}:{feed}:{whose}", limit.emission_interval, limit.burst)


@asynccontextmanager
async def open_client(provider: Provider, endpoint: Endpoint, limiter: Limiter) -> AsyncIterator[ProviderClient]:
    """Open connections to a provider, and close them at the end.

    Raises
    ------
    AddressInvalid
        If the connection's host is no URL.
    """
    if not endpoint.host.startswith(("http://", "https://")):
        raise ProviderUrlInvalid(provider.connection, endpoint.host)
    credentials: dict[Placeholder, object] = {
        Placeholder.CLIENT_ID: endpoint.login,
        Placeholder.CLIENT_SECRET: endpoint.password,
    }
    headers = {name: str(value) for name, value in fill_template(provider.headers, credentials).items()}
    async with aiohttp.ClientSession(
        headers={**headers, "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=provider.timeout.total_seconds()),
        connector=aiohttp.TCPConnector(limit=provider.concurrency),
        # What the provider remembers of one account is not told about the next.
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield ProviderClient(provider, endpoint, limiter, session)


def fill_template(template: Mapping[str, object], values: Mapping[Placeholder, object]) -> dict[str, object]:
    """Return a template with its places filled; a place without a value, or with an empty one, is left out."""
    filled: dict[str, object] = {}
    for name, value in template.items():
        if isinstance(value, Mapping):
            filled[name] = fill_template(value, values)
        elif not isinstance(value, Placeholder):
            filled[name] = value
        elif values.get(value):
            filled[name] = values[value]
    return filled


def _retry_delay(error: Exception) -> bool | timedelta:
    if not isinstance(error, ProviderCallFailed) or error.action is not ErrorAction.RETRY:
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= MAX_WAIT_IN_TASK else False
