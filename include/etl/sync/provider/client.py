"""Client for requests to a provider: authorised, rate-limited, and retried as its error rules declare."""

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
"""Longest wait that is slept inside a task; for a longer one the call fails and reports the wait."""

_REDIRECT = 300
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429


class ProviderCallFailed(Exception):
    """A provider's response, or the lack of one, asks for an action other than to continue.

    Parameters
    ----------
    action
        The action that its error rules declare.
    code
        Its error code, or a description of what went wrong.
    retry_after
        Wait before the next call, if one is known.
    """

    def __init__(self, action: ErrorAction, code: str, retry_after: timedelta | None = None) -> None:
        super().__init__(f"{code} ({action.value})")
        self.action = action
        self.code = code
        self.retry_after = retry_after


class AnswerTooLarge(ProviderCallFailed):
    """A response has more bytes or records than any that was asked for; it is not requested again."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorAction.RETRY, detail)


class LargeAnswer(AnswerTooLarge):
    """A response has more bytes than one may have while other accounts are read."""


class ProviderClient:
    """Sends requests to one provider.

    Parameters
    ----------
    provider
        Its declaration.
    endpoint
        Its base URL (host), client id (login) and client secret (password).
    limiter
        The rate limits that all workers share.
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
        cursor: str = "",
        max_size: int | None = None,
    ) -> Parsed:
        """Send a request and return its response body, parsed by `parse`.

        Parameters
        ----------
        path, request
            Path of the endpoint, and JSON body.
        parse
            Called with the body, as sent; a `ProviderCallFailed` that it raises is handled like one from the provider.
        limits
            Rate limits that the call counts against, for this `feed` and `provider_account_id`.
        cursor
            The cursor that the request sends; only then can an error say that it is lost.
        max_size
            Most bytes that the response may have, if fewer than any page may have.

        Raises
        ------
        AnswerTooLarge
            If the response has more bytes than any page; it is not requested again.
        LargeAnswer
            If it has more than `max_size` bytes.
        ProviderCallFailed
            If the response asks for another action, or still for a retry after all retries.
        ProviderRefused
            If no rule covers the response.
        """
        buckets = [self._bucket(limit, feed, provider_account_id) for limit in limits]

        async def attempt() -> Parsed:
            await self._wait_for_limits(buckets)
            return parse(await self._send(path, request, sends_cursor=bool(cursor), max_size=max_size))

        retrying = stamina.AsyncRetryingCaller(
            attempts=self.provider.retries + 1, timeout=None, wait_initial=0.5, wait_max=30.0
        )
        return await retrying(_retry_delay, attempt)

    async def _wait_for_limits(self, buckets: Sequence[Bucket]) -> None:
        if not buckets:
            return
        while True:
            wait = await asyncio.to_thread(self._limiter.take, buckets)
            if not wait:
                return
            if wait > MAX_WAIT_IN_TASK:
                raise ProviderCallFailed(ErrorAction.RETRY, "declared rate limit exhausted", wait)
            await asyncio.sleep(wait.total_seconds())

    async def _send(
        self, path: str, request: Mapping[str, object], *, sends_cursor: bool, max_size: int | None
    ) -> bytes:
        body = msgspec.json.encode(request)
        try:
            # A redirect would send the secrets to whatever host it points to.
            async with self._session.post(
                self._endpoint.host.rstrip("/") + path, data=body, allow_redirects=False
            ) as response:
                content = await http.read_body(response, max_size=max_size)
        except BodyTooLarge as error:
            raise (AnswerTooLarge if max_size is None else LargeAnswer)(str(error)) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ProviderCallFailed(ErrorAction.RETRY, type(error).__name__) from None
        if response.status >= _REDIRECT:
            wait = http.parse_retry_after(response.headers.get("Retry-After"), now=datetime.now(UTC))
            raise self._to_error(path, response.status, content, wait=wait, sends_cursor=sends_cursor)
        return content

    def _to_error(
        self, path: str, status: int, content: bytes, *, wait: timedelta | None, sends_cursor: bool
    ) -> Exception:
        error = http.parse_error(content)
        code = error.error_code or f"HTTP {status}"
        for rule in self.provider.errors:
            if rule.action is ErrorAction.REREAD_FEED and not sends_cursor:
                continue
            expected = (rule.status, rule.error_type, rule.error_code)
            actual = (status, error.error_type, error.error_code)
            if all(value in (None, actual_value) for value, actual_value in zip(expected, actual, strict=True)):
                return ProviderCallFailed(rule.action, code, wait)
        if status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:
            return ProviderCallFailed(ErrorAction.RETRY, code, wait)
        return ProviderRefused(self.provider.name, f"{path} answered {code}, HTTP {status}")

    def _bucket(self, limit: RateLimit, feed: str, provider_account_id: int) -> Bucket:
        owner = "client" if limit.scope is LimitScope.CLIENT else f"account:{provider_account_id}"
        return Bucket(f"limit:{self.provider.name}:{feed}:{owner}", limit.emission_interval, limit.burst)


@asynccontextmanager
async def open_client(provider: Provider, endpoint: Endpoint, limiter: Limiter) -> AsyncIterator[ProviderClient]:
    """Yield a client with a session of its own, which is closed at the end.

    Raises
    ------
    ProviderUrlInvalid
        If the connection's host is not a URL.
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
        # A cookie set for one account must not be sent with requests for another.
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield ProviderClient(provider, endpoint, limiter, session)


def fill_template(template: Mapping[str, object], values: Mapping[Placeholder, object]) -> dict[str, object]:
    """Return a template with its placeholders filled; omit fields whose value is missing or empty."""
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
    if not isinstance(error, ProviderCallFailed) or isinstance(error, AnswerTooLarge):
        return False
    if error.action is not ErrorAction.RETRY:
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= MAX_WAIT_IN_TASK else False
