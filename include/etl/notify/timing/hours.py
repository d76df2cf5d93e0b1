"""Hours: when a recipient's clock next allows a message."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from etl.declare.timing.window import SendWindow

_DAY = timedelta(days=1)


def next_allowed(now: datetime, zone: tzinfo, window: SendWindow) -> datetime:
    """Return the first instant from `now` on at which a clock in a time zone is within a window.

    Time is cut into spans in which the clock neither jumps nor goes back, so that an hour that is skipped is never
    chosen, and one that is repeated counts both times.

    Parameters
    ----------
    now
        Aware.
    zone
        Time zone of the recipient.
    window
        When messages may be sent.

    Returns
    -------
    datetime
        In UTC; `now` itself if it is within the window.
    """
    spans = _even_spans(now.astimezone(UTC), zone)
    openings = ((_first_within(start + offset, end + offset, window), offset) for start, end, offset in spans)
    return next(local - offset for local, offset in openings if local is not None)


def _even_spans(start: datetime, zone: tzinfo) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Yield spans of at most a day, without an end, each with the offset of the clock from UTC."""
    while True:
        offset, end = _offset(start, zone), start + _DAY
        if _offset(end, zone) != offset:
            end = _find_change(start, end, zone)
        yield start, end, offset
        start = end


def _find_change(start: datetime, end: datetime, zone: tzinfo) -> datetime:
    """Return the first second of a day at which the clock has changed."""
    offset = _offset(start, zone)
    unchanged, changed = start.replace(microsecond=0), end.replace(microsecond=0)
    while changed - unchanged > timedelta(seconds=1):
        middle = (unchanged + (changed - unchanged) / 2).replace(microsecond=0)
        unchanged, changed = (middle, changed) if _offset(middle, zone) == offset else (unchanged, middle)
    return changed


def _first_within(start: datetime, end: datetime, window: SendWindow) -> datetime | None:
    """Return the first local time of a span that is within a window; None if there is none."""
    for day in (start.date(), start.date() + _DAY):
        opening = max(start, datetime.combine(day, window.earliest, start.tzinfo))
        closing = min(end, datetime.combine(day, window.latest, start.tzinfo))
        if day.isoweekday() in window.weekdays and opening < closing:
            return opening
    return None


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
