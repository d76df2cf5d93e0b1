"""What a notice must satisfy beyond what each of its parts does by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from etl.declare.channel import Medium
from etl.declare.queue import Queue
from etl.declare.schedule import After, require_cron
from etl.declare.values import (
    require_count,
    require_duration,
    require_each,
    require_identifier,
    require_kind,
    require_pace,
)
from etl.errors import DeclarationError

if TYPE_CHECKING:
    from etl.declare.notice import Notice

MOST_CHUNKS = 256
"""A flat mapped task of so many costs the scheduler little, and no message in the broker names a recipient."""

ANNOUNCED = "key:"
"""How the periods of runs begin that tell one thing to a few users; what follows is its key."""

_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def check(notice: Notice) -> None:
    """Refuse a notice that holds wrong values or contradicts itself.

    Raises
    ------
    DeclarationError
        With the notice, the field, what was found and the remedy.
    """
    from etl.declare.notice import Category, Unknown

    where = f"notice {notice.name}"
    require_identifier(where, "name", notice.name)
    if notice.name == "now":
        raise DeclarationError(f"{where}: the Dag notify_now sends what is announced; rename the notice")
    require_kind(where, "summary", notice.summary, str)
    require_each(where, "channels", notice.channels, Medium, least=1)
    require_kind(where, "category", notice.category, Category)
    require_kind(where, "queue", notice.queue, Queue)
    require_kind(where, "unknown", notice.unknown, Unknown)
    require_pace(where, "pace", notice.pace)
    require_count(where, "chunk_size", notice.chunk_size, least=1)
    require_count(where, "max_chunks", notice.max_chunks, least=1, most=MOST_CHUNKS)
    require_duration(where, "timeout", notice.timeout)
    for field in ("expiry", "deadline"):
        if getattr(notice, field) is not None:
            require_duration(where, field, getattr(notice, field))
    if notice.schedule is not None and not isinstance(notice.schedule, After):
        require_kind(where, "schedule", notice.schedule, str)
        require_cron(where, "schedule", notice.schedule)
    _check_period(where, notice)
    names = [medium.name for medium in notice.channels]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{where}: channel {name} is named twice; remove one")


def _check_period(where: str, notice: Notice) -> None:
    require_kind(where, "period", notice.period, str)
    if notice.period.startswith(ANNOUNCED):
        raise DeclarationError(f"{where}: period begins with {ANNOUNCED!r}, as those of announcements do; change it")
    if not notice.period or _SOME_DAY.strftime(notice.period) == notice.period:
        raise DeclarationError(
            f"{where}: period is {notice.period!r}, which is the same for every run, so that only the first would "
            "send; write it as strftime has it, such as '%Y-%m' for a month"
        )
