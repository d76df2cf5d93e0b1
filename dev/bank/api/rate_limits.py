"""The provider's rate limits: for each endpoint, so many requests a minute of one item, and of all items together.

A minute is one of the clock, not the last sixty seconds. A refused request does not count.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Self

from dev.bank.api.errors import RateLimitExceeded

WINDOW_SECONDS = 60
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests a minute to one endpoint, and the error code of one too many."""

    error_code: str
    per_item: int
    per_client: int


PLAID_LIMITS = {
    "/accounts/get": Limit("ACCOUNTS_LIMIT", 15, 15_000),
    "/accounts/balance/get": Limit("ACCOUNTS_BALANCE_GET_LIMIT", 5, 1_200),
    "/item/get": Limit("ITEM_GET_LIMIT", 15, 5_000),
    "/item/remove": Limit("ITEM_REMOVE_LIMIT", 30, 2_000),
    "/transactions/get": Limit("TRANSACTIONS_LIMIT", 30, 20_000),
    "/transactions/sync": Limit("TRANSACTIONS_SYNC_LIMIT", 50, 2_500),
}
"""Default production limits. Source: Plaid, "Rate limit exceeded errors", as read in September 2026."""

DEFAULT_LIMIT = Limit("RATE_LIMIT", 100, 1_000)
"""What an endpoint without a limit of its own answers with when it is told to refuse."""


class LimitsInvalid(ValueError):
    """Limits that are neither Plaid's, nor off, nor a multiple."""

    def __init__(self, text: str) -> None:
        super().__init__(f"limits are {text!r}; say plaid, off, or a factor above 0 such as 0.5")


class RateLimits:
    """Counts requests and refuses those too many.

    Parameters
    ----------
    factor
        Multiple of Plaid's limits; None for none.
    sends_retry_after
        Whether a refusal says after how many seconds to try again.
    """

    def __init__(self, factor: float | None = 1.0, *, sends_retry_after: bool = False) -> None:
        self._factor = factor
        self._sends_retry_after = sends_retry_after
        self._minute = 0
        self._counts: Counter[tuple[str, int | None]] = Counter()

    @classmethod
    def parse(cls, text: str, *, sends_retry_after: bool = False) -> Self:
        """Return the limits that `text` names: `plaid`, `off` or a factor.

        Raises
        ------
        LimitsUnclear
            If it names none.
        """
        if text == "off":
            return cls(None)
        try:
            factor = 1.0 if text == "plaid" else float(text)
        except ValueError:
            raise LimitsInvalid(text) from None
        if not 0 < factor < math.inf:
            raise LimitsInvalid(text)
        return cls(factor, sends_retry_after=sends_retry_after)

    def take(self, path: str, item: int, *, now: float) -> None:
        """Count a request of `item` at `now`, in seconds of any clock.

        Raises
        ------
        RateLimitExceeded
            If it is one too many of the item's or of the client's in this minute.
        """
        limit = PLAID_LIMITS.get(path)
        if limit is None or self._factor is None:
            return
        minute, second = divmod(now, WINDOW_SECONDS)
        if minute != self._minute:
            self._minute = int(minute)
            self._counts.clear()
        counted = {(path, item): limit.per_item, (path, None): limit.per_client}
        if any(self._counts[of] >= self._scale(most, self._factor) for of, most in counted.items()):
            raise RateLimitExceeded(
                limit.error_code, retry_after=math.ceil(WINDOW_SECONDS - second) if self._sends_retry_after else None
            )
        self._counts.update(counted.keys())

    @staticmethod
    def _scale(requests: int, factor: float) -> int:
        return max(1, round(requests * factor))
