"""When an address is ended, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class AddressRule:
    """How much must be said against an address of a channel before it is ended.

    Parameters
    ----------
    hard_days, hard_span
        Hard bounces on so many different days (UTC), the first and the last at least so far apart, end an address.
    soft_days, soft_span
        The same for hard and soft bounces together.
    wave_size, wave_share
        So many bounces within an hour, of such a share of a destination's deliveries or of all of the channel, are a
        wave: something is wrong there, not with the addresses. Nothing of a wave counts.
    """

    hard_days: int
    hard_span: timedelta
    soft_days: int
    soft_span: timedelta
    wave_size: int
    wave_share: float


_MAIL = AddressRule(
    # Servers have answered `550 5.1.1` for mailboxes that exist, for up to two days (Gmail, 14 and 15 December 2020).
    hard_days=2,
    hard_span=timedelta(days=3),
    # A mailbox may be full during a holiday.
    soft_days=4,
    soft_span=timedelta(weeks=3),
    wave_size=5,
    # A list that was never cleaned has a few percent of dead addresses.
    wave_share=0.1,
)
_PUSH = AddressRule(
    # The service itself has issued the address, and says that it has ended. It never exists again.
    hard_days=1,
    hard_span=timedelta(),
    soft_days=4,
    soft_span=timedelta(weeks=3),
    wave_size=5,
    # Each uninstalled application leaves one behind.
    wave_share=0.5,
)

RULES = {"email": _MAIL, "push": _PUSH, "desktop": _PUSH}
"""Channel → when its addresses are ended."""

MEMORY = timedelta(days=180)
"""Bounces count for this long; a monthly notice must meet several within it."""

REPORT_DELAY = timedelta(days=5)
"""How long after accepting a mail a server may still report that it could not deliver it (RFC 5321, 4.5.4.1)."""

JUDGED_AFTER = timedelta(minutes=15)
"""After the end of an hour, its bounces are judged."""
