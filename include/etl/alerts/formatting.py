"""Formats instants, durations and counts for people."""

from datetime import UTC, datetime, timedelta

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def format_duration(duration: timedelta) -> str:
    """Return a duration in two units at most, such as `40 s`, `2 h 5 min` or `3 d 4 h`; its sign is dropped."""
    seconds = round(abs(duration.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    large, small, units = (_DAY, _HOUR, ("d", "h")) if seconds >= _DAY else (_HOUR, _MINUTE, ("h", "min"))
    whole, rest = divmod(round(seconds / small), large // small)
    return f"{whole} {units[0]} {rest} {units[1]}" if rest else f"{whole} {units[0]}"


def format_time(at: datetime, *, relative_to: datetime) -> str:
    """Return an instant in UTC: with its day unless `relative_to` is on the same day, with seconds if within 2 min."""
    instant, reference = at.astimezone(UTC), relative_to.astimezone(UTC)
    clock_format = "%H:%M:%S UTC" if abs(instant - reference) < timedelta(minutes=2) else "%H:%M UTC"
    return instant.strftime(clock_format if instant.date() == reference.date() else f"%a %d %b, {clock_format}")


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 chunk` or `1,200 chunks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
