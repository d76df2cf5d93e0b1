"""Caps: how often a user may hear of a category."""

from dataclasses import dataclass
from datetime import timedelta

from etl.declare.validation import require_count, require_duration
from etl.errors import DeclarationError

_MAX_COUNT = 1_000
_MAX_DURATION = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class Cap:
    """The most messages of a category that a user gets in some time, over all its notices.

    A message over several channels counts once. Further messages are suppressed, with the error class `capped`.

    Parameters
    ----------
    count
        Maximum number of messages, 1 to 1,000.
    per
        In any span of this length, at most 90 days.
    """

    count: int
    per: timedelta

    def __post_init__(self) -> None:
        require_count("cap", "count", self.count, minimum=1, maximum=_MAX_COUNT)
        require_duration("cap", "per", self.per)
        if self.per > _MAX_DURATION:
            raise DeclarationError(f"cap: per is {self.per}; it must be at most {_MAX_DURATION.days} days")
