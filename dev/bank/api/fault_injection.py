"""Which request goes wrong, and how."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from dev.bank.api import connections, fault_injection, rate_limits
from dev.bank.api.errors import InternalServerError, RateLimitExceeded
from dev.bank.bank import Bank
from dev.bank.faults import Fault

_HTML_PAGE = "<!doctype html><title>{0}</title><h1>{0}</h1>"


def html_page() -> Response:
    """Return a page for people, as a proxy sends it, with the status of success."""
    return HTMLResponse(_HTML_PAGE.format("We will be right back"))


def bad_gateway() -> Response:
    """Return the error page of a proxy."""
    return HTMLResponse(_HTML_PAGE.format("502 Bad Gateway"), status_code=502)


class NoResponse(Response):
    """Nothing, for as long as the client waits."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Wait until the client leaves."""
        await _wait_for_disconnect(receive)


class ResetResponse(Response):
    """Nothing, and the connection is cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Cut the connection."""
        connections.reset(scope)
        await _wait_for_disconnect(receive)


class TruncatedResponse(Response):
    """The first half of what `response` would have been; then the connection is closed."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.body, status_code=response.status_code, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announce all, send half."""
        body = bytes(self.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        connections.close(scope)
        await _wait_for_disconnect(receive)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


SLOW_DELAY = timedelta(seconds=2)
"""How late a slow answer comes."""

RETRY_AFTER = timedelta(seconds=1)
"""What a rate limit out of the blue asks for, where it asks for anything."""

_REQUEST_FAULTS = (
    Fault.CONNECTION_RESET,
    Fault.TIMEOUT,
    Fault.SERVER_ERROR,
    Fault.BAD_GATEWAY,
    Fault.NOT_JSON,
    Fault.RATE_LIMIT,
    Fault.RATE_LIMIT_RETRY_AFTER,
)
_BROKEN_RESPONSES: dict[Fault, Callable[[], Response]] = {
    Fault.CONNECTION_RESET: ResetResponse,
    Fault.TIMEOUT: NoResponse,
    Fault.BAD_GATEWAY: fault_injection.bad_gateway,
    Fault.NOT_JSON: fault_injection.html_page,
}


async def inject_before(bank: Bank, path: str, subject: bytes) -> Response | None:
    """Return what answers a request in the endpoint's stead, None if nothing is wrong; perhaps late.

    Parameters
    ----------
    subject
        What the draws are about.

    Raises
    ------
    InternalServerError, RateLimitExceeded
        If that is what is wrong.
    """
    if bank.faults.strikes(bank.key, Fault.SLOW, subject):
        await asyncio.sleep(SLOW_DELAY.total_seconds())
    fault = next((each for each in _REQUEST_FAULTS if bank.faults.strikes(bank.key, each, subject)), None)
    if fault is Fault.SERVER_ERROR:
        raise InternalServerError
    if fault in {Fault.RATE_LIMIT, Fault.RATE_LIMIT_RETRY_AFTER}:
        wait = int(RETRY_AFTER.total_seconds()) if fault is Fault.RATE_LIMIT_RETRY_AFTER else None
        raise RateLimitExceeded(
            rate_limits.PLAID_LIMITS.get(path, rate_limits.DEFAULT_LIMIT).error_code, retry_after=wait
        )
    return _BROKEN_RESPONSES[fault]() if fault else None


def inject_after(bank: Bank, response: Response, subject: bytes) -> Response:
    """Return the answer as it is sent: whole, or cut short."""
    return TruncatedResponse(response) if bank.faults.strikes(bank.key, Fault.TRUNCATED_BODY, subject) else response
