"""Client for requests to a provider: authorised, rate-limited, and retried as its error rules declare."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from urllib.parse import urlencode

import aiohttp
import stamina
from yarl import URL

from etl.clients import http
from etl.clients.http import BodyTooLarge
from etl.clients.rate_limits import Bucket, Limiter
from etl.declare.api.auth import TokenRequest
from etl.declare.api.quota import Quota
from etl.declare.api.request import Placeholder, Request
from etl.declare.provider import ErrorAction, LimitScope, Provider, RateLimit
from etl.errors import ProviderRefused
from etl.settings import Endpoint
from etl.sync.provider.authorization import Authorizer, TokenStore, require_url
from etl.sync.provider.failures import (
    CREDENTIALS_UNUSABLE,
    AnswerTooLarge,
    LargeAnswer,
    ProviderCallFailed,
    QuotaExhausted,
    check_errors_inside,
    find_failure,
    find_wait,
    is_declared_error,
)
from etl.sync.provider.requests import (
    HeaderUnusable,
    HttpRequest,
    PlaceUnfilled,
    Values,
    build_request,
    clean_link,
    fill_secrets,
    fill_template,
    secret_parameters,
)
from etl.sync.records.frames import Gap

__all__ = ["AnswerTooLarge", "LargeAnswer", "ProviderCallFailed", "QuotaExhausted"]
"""Re-exported, for those who call the client."""

Parsed = TypeVar("Parsed")

MAX_WAIT_IN_TASK = timedelta(minutes=1)
"""Longest wait that is slept inside a task; for a longer one the call fails and reports the wait."""

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Errors before a request is sent."""

_REDIRECT = 300
_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Response:
    """A successful response.

    Parameters
    ----------
    body
        Its body, as sent.
    headers
        Its headers; their names are compared without regard to case.
    gaps
        What it says that it lacks.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    gaps: tuple[Gap, ...] = ()


class CallLedger(Protocol):
    """Counts the calls of sources that have a quota, for all workers."""

    def take(self, source: str, provider_account_id: int, quota: Quota) -> timedelta:
        """Record a call, and return zero; if no call is left, record none, and return the wait until there is one."""

    def give_back(self, source: str, provider_account_id: int) -> None:
        """Forget the latest call, which the provider does not count."""

    def block(self, source: str, provider_account_id: int, wait: timedelta) -> None:
        """Record that the provider itself says that no call is left for some time."""


@dataclass(frozen=True)
class Call:
    """What a request counts for.

    Parameters
    ----------
    limits
        Rate limits that it counts against.
    source
        Name of the source; empty if it is none.
    provider_account_id
        The login that it is about; 0 if it is about none.
    sends_cursor
        Whether it sends a cursor; only then can an error say that it is lost.
    quota
        Quota that it counts against; None if the source has none.
    """

    limits: Sequence[RateLimit] = ()
    source: str = ""
    provider_account_id: int = 0
    sends_cursor: bool = False
    quota: Quota | None = None


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
    tokens, ledger
        Keep tokens of OAuth 2 and calls of quotas; None where the provider declares none.
    """

    def __init__(
        self,
        provider: Provider,
        endpoint: Endpoint,
        limiter: Limiter,
        session: aiohttp.ClientSession,
        *,
        tokens: TokenStore | None = None,
        ledger: CallLedger | None = None,
    ) -> None:
        self.provider = provider
        self._limiter = limiter
        self._session = session
        self._ledger = ledger
        self.authorizer = Authorizer(provider, endpoint, tokens, self._send_token_request)

    async def send(
        self,
        request: Request,
        values: Values,
        *,
        parse: Callable[[Response], Parsed],
        call: Call = Call(),
        link: str = "",
        max_size: int | None = None,
    ) -> Parsed:
        """Send a request and return its response, parsed by `parse`.

        Parameters
        ----------
        request, values
            The declared request, and what its placeholders stand for.
        parse
            Called with the response; a `ProviderCallFailed` that it raises is handled like one from the provider.
        call
            What the request counts for.
        link
            URL to request instead of that of `request`, as the provider sent it.
        max_size
            Most bytes that the response may have, if fewer than any page may have.

        Raises
        ------
        AnswerTooLarge
            If the response has more bytes than any page; it is not requested again.
        LargeAnswer
            If it has more than `max_size` bytes.
        QuotaExhausted
            If the login has no call left.
        ProviderCallFailed
            If the response asks for another action, or still for a retry after all retries.
        ProviderRefused
            If no rule covers the response.
        """
        buckets = [self._bucket(limit, call) for limit in call.limits]

        async def attempt() -> Parsed:
            await self._wait_for_limits(buckets)
            return parse(await self._authorize_and_send(request, values, call, link, max_size))

        retrying = stamina.AsyncRetryingCaller(
            attempts=self.provider.retries + 1, timeout=None, wait_initial=0.5, wait_max=30.0
        )
        return await retrying(_retry_delay, attempt)

    async def post_to(self, url: str, *, parse: Callable[[Response], Parsed]) -> Parsed:
        """Send an empty POST to a URL on the host of the connection, once; raise as `send` does."""
        self.authorizer.require_own_host(url)
        request = HttpRequest("POST", "", {}, b"")
        return parse(await self._send(url, request, call=Call(), name="the claimed URL"))

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

    def _take_call(self, call: Call) -> None:
        if call.quota is None or self._ledger is None:
            return
        if wait := self._ledger.take(call.source, call.provider_account_id, call.quota):
            raise QuotaExhausted(wait)

    async def _authorize_and_send(
        self, request: Request, values: Values, call: Call, link: str, max_size: int | None
    ) -> Response:
        for attempts_left in (1, 0):
            authorization = await self.authorizer.authorize(values, call.provider_account_id)
            filled = {**values, **authorization.values}
            built = self._build(request, filled, headers=authorization.headers)
            url, query = authorization.base_url + built.path, authorization.query
            if link:
                url, query = self._follow(url, link, request), {**fill_secrets(request, filled), **query}
            if query:
                url += ("&" if "?" in url else "?") + urlencode(query)
            may_renew = bool(attempts_left) and self.authorizer.renews_tokens
            self._take_call(call)
            try:
                return await self._send(
                    url, built, call=call, name=request.path, raises_unauthorized=may_renew, max_size=max_size
                )
            except _Unauthorized:
                self.authorizer.discard_token(authorization, call.provider_account_id)
        raise ProviderRefused(self.provider.name, f"{request.path} refuses every token")

    def _build(self, request: Request, values: Values, *, headers: Mapping[str, str]) -> HttpRequest:
        """Return a request as it is sent; raise what the download of one login handles if that is not possible."""
        try:
            return build_request(request, values, headers=headers)
        except HeaderUnusable as error:
            if error.is_of_login:
                raise ProviderCallFailed(ErrorAction.STOP_ACCOUNT, CREDENTIALS_UNUSABLE) from None
            raise ProviderRefused(self.provider.name, str(error)) from None
        except PlaceUnfilled as error:
            raise ProviderRefused(self.provider.name, str(error)) from None

    def _follow(self, url: str, link: str, request: Request) -> str:
        """Return the URL that a link in the response to a request leads to; no secret is added yet."""
        try:
            followed = str(
                URL(url, encoded=True).join(URL(clean_link(link, secret_parameters(request, self.provider.auth))))
            )
        except ValueError:
            raise ProviderRefused(self.provider.name, f"{request.path} has a next page that is no URL") from None
        self.authorizer.require_own_host(followed)
        return followed

    async def _send(
        self,
        url: str,
        request: HttpRequest,
        *,
        call: Call,
        name: str,
        raises_unauthorized: bool = False,
        max_size: int | None = None,
    ) -> Response:
        try:
            # A redirect would send the secrets to whatever host it points to.
            async with self._session.request(
                request.method,
                URL(url, encoded=True),
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
            ) as response:
                content = await http.read_body(response, max_size=max_size)
        except BodyTooLarge as error:
            raise (AnswerTooLarge if max_size is None else LargeAnswer)(str(error)) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            self._give_back(call, is_sent=not isinstance(error, _NOT_SENT))
            raise ProviderCallFailed(ErrorAction.RETRY, type(error).__name__) from None
        except ValueError:
            # Its text may show a secret.
            self._give_back(call)
            raise ProviderRefused(
                self.provider.name, f"{name}: the request or its response is not valid HTTP"
            ) from None
        if (
            response.status == _UNAUTHORIZED
            and raises_unauthorized
            and not is_declared_error(self.provider, response.status, content)
        ):
            self._give_back(call)
            raise _Unauthorized
        wait = find_wait(self.provider, response.status, response.headers, now=datetime.now(UTC))
        if call.quota is not None:
            wait = self._note_quota(call, call.quota, response, wait)
        if response.status >= _REDIRECT:
            self._give_back(call)
            raise find_failure(self.provider, name, response.status, content, wait=wait, sends_cursor=call.sends_cursor)
        gaps = check_errors_inside(self.provider, response.status, content, wait=wait, sends_cursor=call.sends_cursor)
        return Response(content, response.headers, gaps)

    def _give_back(self, call: Call, *, is_sent: bool = True) -> None:
        """Give back a call that was not sent, or that got an error or no response where the provider counts no such."""
        if call.quota is not None and not (is_sent and call.quota.counts_errors) and self._ledger is not None:
            self._ledger.give_back(call.source, call.provider_account_id)

    def _note_quota(
        self, call: Call, quota: Quota, response: aiohttp.ClientResponse, wait: timedelta | None
    ) -> timedelta | None:
        """Record that the provider's own count of calls is used up, if a response says so; return how long to wait.

        It is no longer than the span of the quota, after which there are calls again: a header may say anything.
        """
        reset = http.parse_retry_after(response.headers.get(quota.reset_header or ""), now=datetime.now(UTC))
        reset = min(reset, quota.per) if reset else None
        if response.status == _TOO_MANY_REQUESTS:
            wait = reset = min(max(filter(None, (wait, reset)), default=timedelta()), quota.per) or None
        elif response.headers.get(quota.remaining_header or "", "").strip() != "0":
            return wait
        if reset and reset > MAX_WAIT_IN_TASK and self._ledger is not None:
            self._ledger.block(call.source, call.provider_account_id, reset)
        return wait

    async def _send_token_request(self, request: TokenRequest, values: Values) -> bytes:
        base_url = self.authorizer.base_url
        built = self._build(request, values, headers={})
        return (await self._send(base_url + built.path, built, call=Call(), name=request.path)).body

    def _bucket(self, limit: RateLimit, call: Call) -> Bucket:
        owner = "client" if limit.scope is LimitScope.CLIENT else f"account:{call.provider_account_id}"
        return Bucket(f"limit:{self.provider.name}:{call.source}:{owner}", limit.emission_interval, limit.burst)


class _Unauthorized(Exception):
    """A response says that the token is not valid."""


@asynccontextmanager
async def open_client(
    provider: Provider,
    endpoint: Endpoint,
    limiter: Limiter,
    *,
    tokens: TokenStore | None = None,
    ledger: CallLedger | None = None,
) -> AsyncIterator[ProviderClient]:
    """Yield a client with a session of its own, which is closed at the end.

    Raises
    ------
    ProviderUrlInvalid
        If the connection's host is not a URL.
    """
    require_url(provider, endpoint)
    credentials: dict[Placeholder, object] = {
        Placeholder.CLIENT_ID: endpoint.login,
        Placeholder.CLIENT_SECRET: endpoint.password,
    }
    seconds = provider.timeout.total_seconds()
    async with aiohttp.ClientSession(
        headers={name: str(value) for name, value in fill_template(provider.headers, credentials).items()},
        # A connection that is not made in half of the time is told from a request that gets no answer.
        timeout=aiohttp.ClientTimeout(total=seconds, connect=seconds / 2),
        connector=aiohttp.TCPConnector(limit=provider.concurrency),
        # A cookie set for one account must not be sent with requests for another.
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield ProviderClient(provider, endpoint, limiter, session, tokens=tokens, ledger=ledger)


def _retry_delay(error: Exception) -> bool | timedelta:
    if not isinstance(error, ProviderCallFailed) or isinstance(error, AnswerTooLarge | QuotaExhausted):
        return False
    if error.action is not ErrorAction.RETRY:
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= MAX_WAIT_IN_TASK else False
