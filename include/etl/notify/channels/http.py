"""Requests that carry a message over HTTP, sorted by whether a server may have taken it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import aiohttp
from yarl import URL

from etl.clients import http
from etl.clients.http import BodyTooLarge
from etl.notify.channels.channel import SendOutcome, SendVerdict, redact_error

TIMEOUT = timedelta(seconds=30)
DEFAULT_CONCURRENCY = 32
"""Requests under way at the same time."""

MAX_SLEEP = timedelta(seconds=5)
"""A wait that a server asks for is kept by sleeping up to this long; messages of a longer one are deferred."""

_MAX_RETRY_AFTER = timedelta(hours=1)
_TOO_MANY_REQUESTS = 429
_MIN_SERVER_ERROR = 500


@dataclass(frozen=True)
class HttpResponse:
    """What a server answered.

    Parameters
    ----------
    status, content
        Of the answer; empty if its body broke off, for the status says it all.
    """

    status: int
    content: bytes = field(repr=False)


@dataclass
class _RequestTrace:
    """Whether the first byte of a request has left."""

    is_sent: bool = False


class HttpPoster:
    """Posts over a pool of connections, and leaves a server alone while it wants to be.

    Parameters
    ----------
    session
        Of `open_session`.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._blocked_until: dict[URL, float] = {}

    async def post(self, url: URL, *, body: bytes, headers: Mapping[str, str]) -> HttpResponse | SendVerdict:
        """Return what was answered; a verdict if nothing was, or the server is busy."""
        wait = self._blocked_until.get(url.origin(), 0) - asyncio.get_running_loop().time()
        if wait > MAX_SLEEP.total_seconds():
            return SendVerdict(
                SendOutcome.DEFERRED, "RetryAfter", f"the server wants to be left alone for {wait:.0f} s"
            )
        if wait > 0:
            await asyncio.sleep(wait)
        begun = _RequestTrace()
        try:
            async with self._session.post(
                # A redirect would carry secrets wherever it points to.
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                trace_request_ctx=begun,
            ) as answer:
                found = HttpResponse(answer.status, await _read_body(answer))
                return self._check_busy(url, found, answer.headers.get("Retry-After")) or found
        except (aiohttp.ClientError, OSError) as error:
            name = "Timeout" if isinstance(error, TimeoutError) else type(error).__name__
            if begun.is_sent:
                return SendVerdict(SendOutcome.UNKNOWN, name, "no answer to a request that was sent")
            return SendVerdict(SendOutcome.DEFERRED, name, "no connection")

    def _check_busy(self, url: URL, response: HttpResponse, retry_after: str | None) -> SendVerdict | None:
        if response.status != _TOO_MANY_REQUESTS and response.status < _MIN_SERVER_ERROR:
            return None
        wait = http.parse_retry_after(retry_after, now=datetime.now(UTC))
        if wait:
            until = asyncio.get_running_loop().time() + min(wait, _MAX_RETRY_AFTER).total_seconds()
            self._blocked_until[url.origin()] = max(until, self._blocked_until.get(url.origin(), 0))
        return SendVerdict(
            SendOutcome.DEFERRED, str(response.status), redact_error(response.content.decode(errors="replace"))
        )


def open_session(
    *, concurrency: int, timeout: timedelta, resolver: aiohttp.abc.AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """Return a session whose requests say whether they have left; to be used as a context manager."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(_mark_sent)
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout.total_seconds()),
        connector=aiohttp.TCPConnector(limit=concurrency, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing],
    )


async def _mark_sent(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams
) -> None:
    if isinstance(context.trace_request_ctx, _RequestTrace):
        context.trace_request_ctx.is_sent = True


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await http.read_body(response)
    except (aiohttp.ClientError, OSError, BodyTooLarge):
        return b""
