"""Backoff: how long a deferred message waits before it is tried again."""

from __future__ import annotations

from datetime import timedelta

FIRST_WINDOW = timedelta(minutes=2)
"""The wait after the first try is a random part of this time; the time doubles with each further try."""
MAX_WINDOW = timedelta(hours=4)
MIN_WAIT = timedelta(seconds=1)
"""Nothing is tried again sooner, nor if less time than this is left."""
_MAX_DOUBLINGS = 16


def next_wait(
    tries: int, *, jitter: float, asked: timedelta | None = None, time_left: timedelta | None = None
) -> timedelta | None:
    """Return how long a message waits after a try; None if its time is used up before it may be tried again.

    Parameters
    ----------
    tries
        How often it was tried, at least 1.
    jitter
        A random number from 0 to 1.
    asked
        How long the server asked to wait; None if it asked for nothing.
    time_left
        Time in which it must be tried again; None for any. The wait is shortened so that one more try fits in, but
        never to less than the server asked for.

    Source: Brooker, "Exponential Backoff And Jitter", AWS (2015), "full jitter".
    """
    earliest = max(asked or MIN_WAIT, MIN_WAIT)
    latest = earliest + min(FIRST_WINDOW * (1 << min(tries - 1, _MAX_DOUBLINGS)), MAX_WINDOW)
    if time_left is not None:
        if time_left <= earliest:
            return None
        latest = min(latest, time_left)
    return earliest + (latest - earliest) * jitter
