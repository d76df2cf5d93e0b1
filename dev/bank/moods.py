"""Which request goes wrong, and how."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from starlette.responses import Response

from dev.bank import breakdowns, limits
from dev.bank.bank import Bank
from dev.bank.breakdowns import Half, Reset, Silence
from dev.bank.errors import InternalServerError, RateLimitExceeded
from dev.bank.faults import Fault

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
    Fault.BAD_GATEWAY: breakdowns.bad_gateway,
    Fault.NOT_JSON: breakdowns.nonsense,
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
        raise RateLimitExceeded(limits.PLAID.get(path, limits.OTHER).error_code, wait=wait)
    return _BREAKDOWNS[fault]() if fault else None


def finish(bank: Bank, response: Response, request: bytes) -> Response:
    """Return the answer as it is sent: whole, or cut short."""
    return Half(response) if bank.faults.strikes(bank.key, Fault.TRUNCATED_BODY, request) else response
