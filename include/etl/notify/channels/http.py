"""Messages over HTTP POST, with results that say whether the server may have accepted them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import aiohttp
from yarl import URL

from etl.clients import http
from etl.notify.channels.adaptive import MAX_RETRY_AFTER, Signal
from etl.notify.channels.channel import Scope, SendOutcome, SendStatus, redact_error

TIMEOUT = timedelta(seconds=10)
FIRST_TIMEOUT = timedelta(seconds=2)
"""Longest wait for the first response of a server that a stranger names."""
DEFAULT_CONCURRENCY = 32
"""Concurrent requests."""

_MAX_BODY_SIZE = 1 << 14
"""Bytes of a response that are read."""
_BODY_TIMEOUT = timedelta(milliseconds=250)
"""Longest wait for the body: its status suffices, and a stranger may send it byte by byte."""
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
        The start of its body; what was read before the body broke off, since the status suffices.
    retry_after
        How long the server asks to wait, at most `MAX_RETRY_AFTER`; None if it asks for nothing.
    """

    status: int
    content: bytes = field(repr=False)
    retry_after: timedelta | None = None

    @property
    def text(self) -> str:
        """The start of its body as text."""
        return self.content.decode(errors="replace")


@dataclass
class _RequestTrace:
    """Whether the first byte of a request has been sent."""

    is_sent: bool = False


class HttpPoster:
    """Posts over a pool of connections.

    Parameters
    ----------
    session
        Of `open_session`.
    scope
        Whom it concerns if a server does not respond, or is busy.
    silence
        What a request says about the server that got no response in time.
    """

    def __init__(self, session: aiohttp.ClientSession, *, scope: Scope, silence: Signal) -> None:
        self._session = session
        self._scope = scope
        self._silence = silence

    async def post(
        self, url: URL, *, body: bytes, headers: Mapping[str, str], max_wait: timedelta
    ) -> HttpResponse | SendStatus:
        """Return the response; a verdict if there is none, or the server is busy."""
        trace = _RequestTrace()
        try:
            async with self._session.post(
                # A redirect would send secrets to whatever host it names.
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=max_wait.total_seconds()),
                trace_request_ctx=trace,
            ) as raw:
                asked = http.parse_retry_after(raw.headers.get("Retry-After"), now=datetime.now(UTC))
                response = HttpResponse(
                    raw.status, await _read_start(raw), min(asked, MAX_RETRY_AFTER) if asked else None
                )
        except (aiohttp.ClientError, OSError) as error:
            return self._to_verdict(error, is_sent=trace.is_sent)
        return self._check_busy(response) or response

    def _to_verdict(self, error: Exception, *, is_sent: bool) -> SendStatus:
        is_timeout = isinstance(error, TimeoutError)
        error_class = "Timeout" if is_timeout else type(error).__name__
        if is_sent:
            return SendStatus(
                SendOutcome.UNKNOWN,
                error_class,
                "no response to a request that was sent",
                scope=self._scope,
                signal=self._silence if is_timeout else Signal.FAULTY,
            )
        signal = self._silence if is_timeout else Signal.NOT_CONNECTED
        return SendStatus(SendOutcome.DEFERRED, error_class, "no connection", scope=self._scope, signal=signal)

    def _check_busy(self, response: HttpResponse) -> SendStatus | None:
        if response.status != _TOO_MANY_REQUESTS and response.status < _MIN_SERVER_ERROR:
            return None
        return SendStatus(
            SendOutcome.DEFERRED,
            str(response.status),
            redact_error(response.text),
            scope=self._scope,
            retry_after=response.retry_after,
            signal=Signal.THROTTLED if response.status == _TOO_MANY_REQUESTS else Signal.FAULTY,
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


async def _read_start(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    with suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(_BODY_TIMEOUT.total_seconds()):
            while len(content) < _MAX_BODY_SIZE:
                block = await response.content.read(_MAX_BODY_SIZE - len(content))
                if not block:
                    break
                content += block
    return bytes(content)
