"""What a notice must satisfy beyond what each of its parts does by itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from reprlib import repr as shortened
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

GIVEN = ("period", "as_of", "after", "stop", "limit", "run_id", "chunk_size", "max_chunks")
"""What statements are given anyway."""

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
        require_kind(where, "schedule", notice.schedule, str, After)
        require_cron(where, "schedule", notice.schedule)
    _check_period(where, notice)
    _check_parameters(where, notice)
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


def _check_parameters(where: str, notice: Notice) -> None:
    require_kind(where, "parameters", notice.parameters, dict)
    for name, value in notice.parameters.items():
        require_identifier(where, "the name of a parameter", name)
        if name in GIVEN:
            raise DeclarationError(f"{where}: parameter {name} is given to its statements anyway; rename it")
        _check_value(where, name, value)


def _check_value(where: str, name: str, value: object) -> None:
    """Refuse what does not come back from the run as it was declared."""
    if isinstance(value, float):
        raise DeclarationError(f"{where}: parameter {name} has {value}, a float; write the text '{value}'")
    if isinstance(value, Mapping):
        for key, held in value.items():
            require_kind(where, f"a key of parameter {name}", key, str)
            _check_value(where, name, held)
    elif not isinstance(value, str | int):
        raise DeclarationError(
            f"{where}: parameter {name} has {shortened(value)} ({type(value).__name__}); "
            "write text, a whole number, a truth value, or a dict of these"
        )
