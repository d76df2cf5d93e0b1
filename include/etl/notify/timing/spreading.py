"""Spreading: the pace at which a run takes the time over which its notice is spread."""

from __future__ import annotations

from etl.declare.notice import Notice

MIN_PACE = 0.001
"""Messages a second; senders cannot represent the waits of a slower pace."""


def spread_pace(notice: Notice, recipients: int) -> float:
    """Return the pace of a run, in messages a second over all workers.

    A slower pace needs no memory and no rows, and an operator can change it, as any pace. A run that sends fewer
    messages than its recipients have channels ends earlier.

    Parameters
    ----------
    recipients
        Number of recipients of the run.
    """
    if notice.spread is None:
        return notice.pace
    messages = recipients * len(notice.channels)
    return min(notice.pace, max(MIN_PACE, messages / notice.spread.total_seconds()))
