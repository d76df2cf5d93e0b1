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

_PAGE = "<!doctype html><title>{0}</title><h1>{0}</h1>"


def nonsense() -> Response:
    """Return a page for people, as a proxy sends it, with the status of success."""
    return HTMLResponse(_PAGE.format("We will be right back"))


def bad_gateway() -> Response:
    """Return the error page of a proxy."""
    return HTMLResponse(_PAGE.format("502 Bad Gateway"), status_code=502)


class Silence(Response):
    """Nothing, for as long as the client waits."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Wait until the client leaves."""
        await _gone(receive)


class Reset(Response):
    """Nothing, and the connection is cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Cut the connection."""
        connections.reset(scope)
        await _gone(receive)


class Half(Response):
    """The first half of what `whole` would have been; then the connection is closed."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, status_code=whole.status_code, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announce all, send half."""
        body = bytes(self.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        connections.close(scope)
        await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


SLOW = timedelta(seconds=2)
"""How late a slow answer comes."""

WAIT = timedelta(seconds=1)
"""What a rate limit out of the blue asks for, where it asks for anything."""

_OUTRIGHT = (
    Fault.CONNECTION_RESET,
    Fault.TIMEOUT,
    Fault.SERVER_ERROR,
    Fault.BAD_GATEWAY,
    Fault.NOT_JSON,
    Fault.RATE_LIMIT,
    Fault.RATE_LIMIT_RETRY_AFTER,
)
_BREAKDOWNS: dict[Fault, Callable[[], Response]] = {
    Fault.CONNECTION_RESET: Reset,
    Fault.TIMEOUT: Silence,
    Fault.BAD_GATEWAY: fault_injection.bad_gateway,
    Fault.NOT_JSON: fault_injection.nonsense,
}


async def meet(bank: Bank, path: str, request: bytes) -> Response | None:
    """Return what answers a request in the endpoint's stead, None if nothing is wrong; perhaps late.

    Parameters
    ----------
    request
        What the draws are about.

    Raises
    ------
    InternalServerError, RateLimitExceeded
        If that is what is wrong.
    """
    if bank.faults.strikes(bank.key, Fault.SLOW, request):
        await asyncio.sleep(SLOW.total_seconds())
    fault = next((each for each in _OUTRIGHT if bank.faults.strikes(bank.key, each, request)), None)
    if fault is Fault.SERVER_ERROR:
        raise InternalServerError
    if fault in {Fault.RATE_LIMIT, Fault.RATE_LIMIT_RETRY_AFTER}:
        wait = int(WAIT.total_seconds()) if fault is Fault.RATE_LIMIT_RETRY_AFTER else None
        raise RateLimitExceeded(rate_limits.PLAID.get(path, rate_limits.OTHER).error_code, wait=wait)
    return _BREAKDOWNS[fault]() if fault else None


def finish(bank: Bank, response: Response, request: bytes) -> Response:
    """Return the answer as it is sent: whole, or cut short."""
    return Half(response) if bank.faults.strikes(bank.key, Fault.TRUNCATED_BODY, request) else response
