"""How often an access URL may be used: 24 times a day, which the server first warns of, and then ends.

Source: SimpleFIN Bridge, developer guide, "Limits": 24 requests or fewer a day, with a little leeway; requests for
single accounts count apart; more bring warnings among the errors, and at last the end of the access.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

REQUESTS_PER_DAY = 24
"""Requests of a day above which a warning is sent."""

LEEWAY = 24
"""Further requests of a day after which the access ends."""


@dataclass
class Quota:
    """Counts the requests of each access URL on the bank's day."""

    _day: date = date.min
    _counts: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    _disabled: set[str] = field(default_factory=set)

    def count(self, code: str, accounts: tuple[str, ...], *, today: date) -> int:
        """Count a request and return how many of its kind there were today.

        Parameters
        ----------
        code
            The access URL.
        accounts
            The accounts that it names; empty for all.
        """
        if today != self._day:
            self._day = today
            self._counts.clear()
        self._counts[code, accounts] += 1
        if self._counts[code, accounts] > REQUESTS_PER_DAY + LEEWAY:
            self._disabled.add(code)
        return self._counts[code, accounts]

    def is_disabled(self, code: str) -> bool:
        """Return whether the access was ended, since it was used far too often."""
        return code in self._disabled
