"""Messages over HTTP POST, with results that say whether the server may have accepted them."""

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
from etl.notify.channels.channel import SendOutcome, SendStatus, redact_error

TIMEOUT = timedelta(seconds=30)
DEFAULT_CONCURRENCY = 32
"""Concurrent requests."""

MAX_SLEEP = timedelta(seconds=5)
"""A shorter wait that a server asks for is spent sleeping; messages are deferred for a longer one."""

_MAX_RETRY_AFTER = timedelta(hours=1)
_TOO_MANY_REQUESTS = 429
_MIN_SERVER_ERROR = 500


@dataclass(frozen=True)
class HttpResponse:
    """The response of a server.

    Parameters
    ----------
    status
        Its status.
    content
        Its body; empty if the body broke off, since the status suffices.
    """

    status: int
    content: bytes = field(repr=False)


@dataclass
class _RequestTrace:
    """Whether the first byte of a request has been sent."""

    is_sent: bool = False


class HttpPoster:
    """Posts over a pool of connections, and waits where a server asked for it by `Retry-After`.

    Parameters
    ----------
    session
        Of `open_session`.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._blocked_until: dict[URL, float] = {}

    async def post(self, url: URL, *, body: bytes, headers: Mapping[str, str]) -> HttpResponse | SendStatus:
        """Return the response; a verdict if there is none, or the server is busy."""
        wait = self._blocked_until.get(url.origin(), 0) - asyncio.get_running_loop().time()
        if wait > MAX_SLEEP.total_seconds():
            return SendStatus(SendOutcome.DEFERRED, "RetryAfter", f"the server asked to wait; {wait:.0f} s are left")
        if wait > 0:
            await asyncio.sleep(wait)
        trace = _RequestTrace()
        try:
            async with self._session.post(
                # A redirect would send secrets to whatever host it names.
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                trace_request_ctx=trace,
            ) as raw:
                response = HttpResponse(raw.status, await _read_body(raw))
                return self._check_busy(url, response, raw.headers.get("Retry-After")) or response
        except (aiohttp.ClientError, OSError) as error:
            error_class = "Timeout" if isinstance(error, TimeoutError) else type(error).__name__
            if trace.is_sent:
                return SendStatus(SendOutcome.UNKNOWN, error_class, "no response to a request that was sent")
            return SendStatus(SendOutcome.DEFERRED, error_class, "no connection")

    def _check_busy(self, url: URL, response: HttpResponse, retry_after: str | None) -> SendStatus | None:
        if response.status != _TOO_MANY_REQUESTS and response.status < _MIN_SERVER_ERROR:
            return None
        wait = http.parse_retry_after(retry_after, now=datetime.now(UTC))
        if wait:
            until = asyncio.get_running_loop().time() + min(wait, _MAX_RETRY_AFTER).total_seconds()
            self._blocked_until[url.origin()] = max(until, self._blocked_until.get(url.origin(), 0))
        return SendStatus(
            SendOutcome.DEFERRED, str(response.status), redact_error(response.content.decode(errors="replace"))
        )


def open_session(
    *, concurrency: int, timeout: timedelta, resolver: aiohttp.abc.AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """Return a session that records whether a request has been sent; use it as a context manager."""
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
