"""Plaid's rate limits: requests per minute to each endpoint, for one item and for all items together.

Each minute of the clock is a window; the window does not slide. A refused request does not count.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Self

from dev.bank.api.errors import RateLimitExceeded

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """Requests per minute to an endpoint, and the error code of one that exceeds them."""

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
"""Its error code is used when a rate limit fault strikes an endpoint that has no limit."""


class LimitsInvalid(ValueError):
    """The limits are neither `plaid`, `off` nor a positive factor."""

    def __init__(self, text: str) -> None:
        super().__init__(f"limits are {text!r}; use plaid, off, or a factor above 0 such as 0.5")


class RateLimits:
    """Counts requests and refuses those that exceed a limit.

    Parameters
    ----------
    factor
        Multiple of Plaid's limits; None for no limits.
    sends_retry_after
        Whether a rate limit error has a `Retry-After` header.
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
        LimitsInvalid
            If `text` is none of these.
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
            If it exceeds the item's or the client's limit in this minute.
        """
        limit = PLAID_LIMITS.get(path)
        if limit is None or self._factor is None:
            return
        minute, second = divmod(now, WINDOW_SECONDS)
        if minute != self._minute:
            self._minute = int(minute)
            self._counts.clear()
        maximums = {(path, item): limit.per_item, (path, None): limit.per_client}
        if any(self._counts[counter] >= self._scale(maximum, self._factor) for counter, maximum in maximums.items()):
            raise RateLimitExceeded(
                limit.error_code, retry_after=math.ceil(WINDOW_SECONDS - second) if self._sends_retry_after else None
            )
        self._counts.update(maximums.keys())

    @staticmethod
    def _scale(requests: int, factor: float) -> int:
        return max(1, round(requests * factor))
