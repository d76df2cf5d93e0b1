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
from etl.notify.channels.channel import Outcome, Verdict, legible

TIMEOUT = timedelta(seconds=30)
LANES = 32
"""Requests under way at the same time."""

SHORT_WAIT = timedelta(seconds=5)
"""A wait that a server asks for is kept by sleeping up to this long; messages of a longer one are deferred."""

_LONGEST_WAIT = timedelta(hours=1)
_TOO_MANY = 429
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Parameters
    ----------
    status, content
        Of the answer; empty if its body broke off, for the status says it all.
    """

    status: int
    content: bytes = field(repr=False)


@dataclass
class _Begun:
    """Whether the first byte of a request has left."""

    sent: bool = False


class Poster:
    """Posts over a pool of connections, and leaves a server alone while it wants to be.

    Parameters
    ----------
    session
        Of `open_session`.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._not_before: dict[URL, float] = {}

    async def post(self, url: URL, *, body: bytes, headers: Mapping[str, str]) -> Answer | Verdict:
        """Return what was answered; a verdict if nothing was, or the server is busy."""
        wait = self._not_before.get(url.origin(), 0) - asyncio.get_running_loop().time()
        if wait > SHORT_WAIT.total_seconds():
            return Verdict(Outcome.DEFERRED, "RetryAfter", f"the server wants to be left alone for {wait:.0f} s")
        if wait > 0:
            await asyncio.sleep(wait)
        begun = _Begun()
        try:
            async with self._session.post(
                # A redirect would carry secrets wherever it points to.
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                trace_request_ctx=begun,
            ) as answer:
                found = Answer(answer.status, await _content(answer))
                return self._busy(url, found, answer.headers.get("Retry-After")) or found
        except (aiohttp.ClientError, OSError) as error:
            name = "Timeout" if isinstance(error, TimeoutError) else type(error).__name__
            if begun.sent:
                return Verdict(Outcome.UNKNOWN, name, "no answer to a request that was sent")
            return Verdict(Outcome.DEFERRED, name, "no connection")

    def _busy(self, url: URL, answer: Answer, retry_after: str | None) -> Verdict | None:
        if answer.status != _TOO_MANY and answer.status < _SERVER_ERROR:
            return None
        wait = http.wait(retry_after, now=datetime.now(UTC))
        if wait:
            until = asyncio.get_running_loop().time() + min(wait, _LONGEST_WAIT).total_seconds()
            self._not_before[url.origin()] = max(until, self._not_before.get(url.origin(), 0))
        return Verdict(Outcome.DEFERRED, str(answer.status), legible(answer.content.decode(errors="replace")))


def open_session(
    *, lanes: int, timeout: timedelta, resolver: aiohttp.abc.AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """Return a session whose requests say whether they have left; to be used as a context manager."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(_note)
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout.total_seconds()),
        connector=aiohttp.TCPConnector(limit=lanes, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing],
    )


async def _note(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams) -> None:
    if isinstance(context.trace_request_ctx, _Begun):
        context.trace_request_ctx.sent = True


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await http.body(answer)
    except (aiohttp.ClientError, OSError, BodyTooLarge):
        return b""
