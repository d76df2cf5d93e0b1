"""What a running bank remembers of its client: tokens, and calls of the last day. A restart forgets both."""

import math
import secrets
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta

from dev.bank.gocardless import errors

ACCESS_LIFETIME = timedelta(days=1)
REFRESH_LIFETIME = timedelta(days=30)
"""Source: GoCardless, "Quickstart Guide": `access_expires` 86400, `refresh_expires` 2592000."""

CALLS_PER_DAY = 4
"""Successful calls for an account and access scope in 24 hours.

Source: GoCardless, "Bank API Rate Limits and Rate Limit Headers", as in force since March 2025.
"""

CALLS_PER_MINUTE = 100
"""Calls of a client for accounts; it is announced in headers, and not enforced."""

_DAY = timedelta(days=1).total_seconds()


@dataclass
class Desk:
    """Tokens and calls.

    Parameters
    ----------
    issued
        Number of access tokens that were issued for the secret, and for a refresh token.
    """

    issued: dict[str, int] = field(default_factory=lambda: {"new": 0, "refresh": 0})
    _access: dict[str, float] = field(default_factory=dict)
    _refresh: dict[str, float] = field(default_factory=dict)
    _calls: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    _day: date | None = None

    def issue(self) -> tuple[str, str]:
        """Return a new access token and a new refresh token."""
        refresh = secrets.token_urlsafe(24)
        self._refresh[refresh] = time.monotonic() + REFRESH_LIFETIME.total_seconds()
        return self._issue_access("new"), refresh

    def refresh(self, token: str) -> str:
        """Return a new access token for a refresh token.

        Raises
        ------
        GoCardlessError
            If that is not valid.
        """
        if self._refresh.get(token, 0) <= time.monotonic():
            raise errors.invalid_token()
        return self._issue_access("refresh")

    def require(self, authorization: str) -> str:
        """Return the token of a header `Authorization`.

        Raises
        ------
        GoCardlessError
            If there is none, or it is not valid.
        """
        kind, _, token = authorization.partition(" ")
        if kind != "Bearer" or self._access.get(token, 0) <= time.monotonic():
            raise errors.invalid_token()
        return token

    def expire(self, token: str) -> None:
        """End an access token."""
        self._access.pop(token, None)

    def expire_all(self) -> None:
        """End all access tokens."""
        self._access.clear()

    def take(self, account_id: str, scope: str, *, today: date) -> None:
        """Refuse a call if none is left for an account and scope; each day of the bank has new ones.

        Raises
        ------
        GoCardlessError
            With the seconds until there is one.
        """
        if today != self._day:
            self._day = today
            self._calls.clear()
        calls = self._calls[account_id, scope]
        calls[:] = [each for each in calls if each > time.monotonic() - _DAY]
        if len(calls) >= CALLS_PER_DAY:
            limit = f"{CALLS_PER_DAY}/day"
            raise errors.rate_limited(limit, self._reset(account_id, scope), self.headers(account_id, scope))

    def count(self, account_id: str, scope: str) -> None:
        """Count a successful call."""
        self._calls[account_id, scope].append(time.monotonic())

    def headers(self, account_id: str, scope: str) -> dict[str, str]:
        """Return the headers that tell how many calls are left."""
        left = CALLS_PER_DAY - len(self._calls[account_id, scope])
        return {
            **general_headers(),
            "HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_LIMIT": str(CALLS_PER_DAY),
            "HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_REMAINING": str(left),
            "HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_RESET": str(self._reset(account_id, scope)),
        }

    def _reset(self, account_id: str, scope: str) -> int:
        calls = self._calls[account_id, scope]
        return math.ceil(calls[0] + _DAY - time.monotonic()) if calls else int(_DAY)

    def _issue_access(self, way: str) -> str:
        token = secrets.token_urlsafe(24)
        self._access[token] = time.monotonic() + ACCESS_LIFETIME.total_seconds()
        self.issued[way] += 1
        return token


def general_headers(*, remaining: int = CALLS_PER_MINUTE - 1, reset: int = 59) -> dict[str, str]:
    """Return the headers of the limit of all calls, which every response has."""
    return {
        "HTTP_X_RATELIMIT_LIMIT": str(CALLS_PER_MINUTE),
        "HTTP_X_RATELIMIT_REMAINING": str(remaining),
        "HTTP_X_RATELIMIT_RESET": str(reset),
    }
