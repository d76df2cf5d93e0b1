"""Injects faults into requests: broken, slow and truncated responses, and errors."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from dev.bank.api import connections, rate_limits
from dev.bank.api.errors import InternalServerError, RateLimitExceeded
from dev.bank.bank import Bank
from dev.bank.faults import Fault

SLOW_DELAY = timedelta(seconds=2)
"""Delay of a slow response."""

RETRY_AFTER = {
    Fault.RATE_LIMIT: None,
    Fault.RATE_LIMIT_RETRY_AFTER: timedelta(seconds=1),
    Fault.LONG_WAIT: timedelta(seconds=90),
}
"""`Retry-After` of each injected rate limit error; None for none."""

_REQUEST_FAULTS = (
    Fault.CONNECTION_RESET,
    Fault.TIMEOUT,
    Fault.SERVER_ERROR,
    Fault.BAD_GATEWAY,
    Fault.NOT_JSON,
    Fault.RATE_LIMIT,
    Fault.RATE_LIMIT_RETRY_AFTER,
    Fault.LONG_WAIT,
)
_HTML_PAGE = "<!doctype html><title>{0}</title><h1>{0}</h1>"


class NoResponse(Response):
    """A response that is never sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Wait until the client disconnects."""
        await _wait_for_disconnect(receive)


class ResetResponse(Response):
    """A reset of the connection in place of a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Reset the connection."""
        connections.reset(scope)
        await _wait_for_disconnect(receive)


class TruncatedResponse(Response):
    """The first half of `response`, after which the connection is closed."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.body, status_code=response.status_code, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announce the whole body, send half of it, and close the connection."""
        body = bytes(self.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        connections.close(scope)
        await _wait_for_disconnect(receive)


def html_page() -> Response:
    """Return an HTML page with status 200, such as a proxy's maintenance page."""
    return HTMLResponse(_HTML_PAGE.format("We will be right back"))


def bad_gateway() -> Response:
    """Return the error page of a proxy."""
    return HTMLResponse(_HTML_PAGE.format("502 Bad Gateway"), status_code=502)


_BROKEN_RESPONSES: dict[Fault, Callable[[], Response]] = {
    Fault.CONNECTION_RESET: ResetResponse,
    Fault.TIMEOUT: NoResponse,
    Fault.BAD_GATEWAY: bad_gateway,
    Fault.NOT_JSON: html_page,
}


async def inject_before(bank: Bank, path: str, subject: bytes) -> Response | None:
    """Return the response that replaces the endpoint's, None if there is none; a slow fault delays the return.

    Parameters
    ----------
    subject
        Identifies the request; see `Faults.count_request`.

    Raises
    ------
    InternalServerError, RateLimitExceeded
        If a fault of that kind strikes.
    """
    if bank.faults.strikes(bank.key, Fault.SLOW, subject):
        await asyncio.sleep(SLOW_DELAY.total_seconds())
    fault = next((each for each in _REQUEST_FAULTS if bank.faults.strikes(bank.key, each, subject)), None)
    if fault is Fault.SERVER_ERROR:
        raise InternalServerError
    if fault in RETRY_AFTER:
        wait = RETRY_AFTER[fault]
        limit = rate_limits.PLAID_LIMITS.get(path, rate_limits.DEFAULT_LIMIT)
        raise RateLimitExceeded(limit.error_code, retry_after=None if wait is None else int(wait.total_seconds()))
    return _BROKEN_RESPONSES[fault]() if fault else None


def inject_after(bank: Bank, response: Response, subject: bytes) -> Response:
    """Return the response, truncated if that fault strikes."""
    return TruncatedResponse(response) if bank.faults.strikes(bank.key, Fault.TRUNCATED_BODY, subject) else response


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
