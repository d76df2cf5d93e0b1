"""Quotas of a few calls in hours or days, which outlive every process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from etl.declare.validation import require_count, require_duration, require_type
from etl.errors import DeclarationError

MIN_PERIOD = timedelta(hours=1)
"""Below this, a `RateLimit` serves: it waits, and needs no table."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """At most `calls` calls of one source for one login in any span of `per`; each call is recorded in the warehouse.

    A login that has no call left keeps the pages that it has got, and continues when it may: the run reports it as
    late, and fails.

    Parameters
    ----------
    calls
        Number of calls.
    per
        The span, by the clock of the warehouse.
    remaining_header, reset_header
        Headers with the calls that are left and the seconds until there are new ones, by the provider's own count; None
        if it sends none. Where they say that none is left, they count more than the calls that were recorded,
        but a login is asked again after `per` at the latest.
    counts_errors
        Whether a call that gets an error response counts, too.
    """

    calls: int
    per: timedelta
    remaining_header: str | None = None
    reset_header: str | None = None
    counts_errors: bool = True

    def __post_init__(self) -> None:
        require_count("quota", "calls", self.calls, minimum=1)
        require_duration("quota", "per", self.per)
        require_type("quota", "counts_errors", self.counts_errors, bool)
        for name in ("remaining_header", "reset_header"):
            require_type("quota", name, getattr(self, name), str, type(None))
        if self.per < MIN_PERIOD:
            raise DeclarationError(f"quota: per is {self.per}; below {MIN_PERIOD}, declare a RateLimit")
        if self.remaining_header and not self.reset_header:
            raise DeclarationError(
                "quota: remaining_header is given without reset_header, so that nothing tells when to ask again; add it"
            )
