"""Notices: what is sent to whom, over which channels, and how fast."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from reprlib import repr as shortened

from etl.declare.channel import Channel
from etl.declare.queue import Queue
from etl.declare.schedule import After, last_interval_start, require_cron
from etl.declare.validation import (
    require_count,
    require_duration,
    require_identifier,
    require_pace,
    require_tuple,
    require_type,
)
from etl.errors import DeclarationError

__all__ = ["After", "Category", "Channel", "Consent", "Notice", "UnknownPolicy"]
"""A declaration finds its words in one place."""

REQUIRED_STATEMENTS = ("bounds", "recipients")
"""What the SQL file of a notice must have."""

_SAMPLE_DAY = datetime(2026, 10, 20, tzinfo=UTC)

MAX_CHUNKS = 256
"""A flat mapped task of so many costs the scheduler little, and no message in the broker names a recipient."""

ANNOUNCEMENT_PREFIX = "key:"
"""How the periods of runs begin that tell one thing to a few users; what follows is its key."""

IMPLICIT_PARAMETERS = ("period", "as_of", "after", "stop", "limit", "run_id", "chunk_size", "max_chunks")
"""What statements are given anyway."""


class Consent(Enum):
    """Who may be sent messages of a category."""

    OPT_OUT = "opt_out"
    """Everybody who did not say no."""
    OPT_IN = "opt_in"
    """Only those who said yes."""
    NONE = "none"
    """Everybody, since it is not theirs to refuse: a security alert."""


class UnknownPolicy(Enum):
    """What to do with a message of which nobody can tell whether it arrived."""

    RESEND = "resend"
    """Send it again: twice is better than never."""
    HOLD = "hold"
    """Leave it to a person: never is better than twice."""


@dataclass(frozen=True)
class Category:
    """What a user can say yes or no to.

    Parameters
    ----------
    name
        As kept in `notify.consents`; several notices may share it.
    consent
        Who may be sent to.
    """

    name: str
    consent: Consent

    def __post_init__(self) -> None:
        require_identifier(f"category {self.name}", "name", self.name)
        require_type(f"category {self.name}", "consent", self.consent, Consent)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that is sent: one declaration, one SQL file and one folder of templates of the same name.

    Parameters
    ----------
    name
        As its folder is called (`include/etl/catalog/notices/`), which holds its declaration, `notice.py`, and its
        templates, one for each part of a message: `email.subject.jinja`. Its SQL: `include/sql/notices/`.
    summary
        What it tells, for the people who look at the Dag.
    channels
        What carries it; a recipient gets one message over each that they have an address of.
    category
        What its recipients may refuse.
    queue
        Where its tasks run.
    pace
        Messages a second over all workers, to begin with; it can be changed while a run goes on.
    period
        How the beginning of a data interval becomes the name of a period, as `strftime` has it; a period is sent once.
    parameters
        More values that its statements and templates may name, each with what it is if a run is given no other; frozen
        with the run. Numbers with decimals, such as money, are written as text.
    expiry
        Time after its planning from which a message is of no use any more; None for never.
    unknown
        What to do with a message of which nobody can tell whether it arrived.
    chunk_size
        Recipients in a chunk.
    max_chunks
        Most chunks in a run, 256 or fewer; above it chunks grow wider, not more.
    schedule
        Cron expression, in UTC, or `After` an entity was loaded; None if it is only triggered.
    timeout
        Longest time for one task.
    deadline
        Time after the end of its data interval by which a scheduled run promises to be done; None if it promises
        nothing.
    """

    name: str
    summary: str
    channels: tuple[Channel, ...]
    category: Category
    queue: Queue
    pace: float
    period: str
    unknown: UnknownPolicy
    parameters: Mapping[str, object] = field(default_factory=dict)
    expiry: timedelta | None = None
    chunk_size: int = 10_000
    max_chunks: int = 256
    schedule: str | After | None = None
    timeout: timedelta = timedelta(hours=6)
    deadline: timedelta | None = None

    def __post_init__(self) -> None:
        _validate(self)

    def period_starting(self, start: datetime) -> str:
        """Return the name of the period that begins then."""
        return start.strftime(self.period)

    def default_period(self, as_of: datetime) -> str:
        """Return the name of the period that is meant at an instant if nobody says which.

        That of the last whole interval of the schedule; without a cron expression, that of the instant.
        """
        return self.period_starting(
            last_interval_start(self.schedule, as_of) if isinstance(self.schedule, str) else as_of
        )

    def is_valid_period(self, text: str) -> bool:
        """Return whether a period is written as this notice has it; `2026-1` would be told again of `2026-01`."""
        example = self.period_starting(_SAMPLE_DAY)
        if _normalize_period(example, self.period) == example:
            return _normalize_period(text, self.period) == text
        # A pattern that cannot be read back, such as a week without its day, is at least compared by its shape.
        return re.sub(r"[0-9]", "0", text) == re.sub(r"[0-9]", "0", example)

    def has_period_ended(self, period: str, as_of: datetime) -> bool:
        """Return whether a period is over at an instant; without a cron expression, or a date in its name, each is."""
        begins, last = (_parse_period(each, self.period) for each in (period, self.default_period(as_of)))
        return begins is None or last is None or begins <= last or not isinstance(self.schedule, str)

    @property
    def template_names(self) -> tuple[str, ...]:
        """Names of the templates that its folder must have."""
        return tuple(f"{medium.name}.{part}.jinja" for medium in self.channels for part in medium.parts)


def _validate(notice: Notice) -> None:
    """Refuse a notice that holds wrong values or contradicts itself.

    Raises
    ------
    DeclarationError
        With the notice, the field, what was found and the remedy.
    """
    where = f"notice {notice.name}"
    require_identifier(where, "name", notice.name)
    if notice.name == "now":
        raise DeclarationError(f"{where}: the Dag notify_now sends what is announced; rename the notice")
    require_type(where, "summary", notice.summary, str)
    require_tuple(where, "channels", notice.channels, Channel, minimum=1)
    require_type(where, "category", notice.category, Category)
    require_type(where, "queue", notice.queue, Queue)
    require_type(where, "unknown", notice.unknown, UnknownPolicy)
    require_pace(where, "pace", notice.pace)
    require_count(where, "chunk_size", notice.chunk_size, minimum=1)
    require_count(where, "max_chunks", notice.max_chunks, minimum=1, maximum=MAX_CHUNKS)
    require_duration(where, "timeout", notice.timeout)
    for name in ("expiry", "deadline"):
        if getattr(notice, name) is not None:
            require_duration(where, name, getattr(notice, name))
    if notice.schedule is not None and not isinstance(notice.schedule, After):
        require_type(where, "schedule", notice.schedule, str, After)
        require_cron(where, "schedule", notice.schedule)
    _check_period(where, notice)
    _check_parameters(where, notice)
    names = [medium.name for medium in notice.channels]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{where}: channel {name} is named twice; remove one")


def _check_period(where: str, notice: Notice) -> None:
    require_type(where, "period", notice.period, str)
    if notice.period.startswith(ANNOUNCEMENT_PREFIX):
        raise DeclarationError(
            f"{where}: period begins with {ANNOUNCEMENT_PREFIX!r}, as those of announcements do; change it"
        )
    if not notice.period or _SAMPLE_DAY.strftime(notice.period) == notice.period:
        raise DeclarationError(
            f"{where}: period is {notice.period!r}, which is the same for every run, so that only the first would "
            "send; write it as strftime has it, such as '%Y-%m' for a month"
        )


def _check_parameters(where: str, notice: Notice) -> None:
    require_type(where, "parameters", notice.parameters, dict)
    for name, value in notice.parameters.items():
        require_identifier(where, "the name of a parameter", name)
        if name in IMPLICIT_PARAMETERS:
            raise DeclarationError(f"{where}: parameter {name} is given to its statements anyway; rename it")
        _check_value(where, name, value)


def _check_value(where: str, name: str, value: object) -> None:
    """Refuse what does not come back from the run as it was declared."""
    if isinstance(value, float):
        raise DeclarationError(f"{where}: parameter {name} has {value}, a float; write the text '{value}'")
    if isinstance(value, Mapping):
        for key, held in value.items():
            require_type(where, f"a key of parameter {name}", key, str)
            _check_value(where, name, held)
    elif not isinstance(value, str | int):
        raise DeclarationError(
            f"{where}: parameter {name} has {shortened(value)} ({type(value).__name__}); "
            "write text, a whole number, a truth value, or a dict of these"
        )


def _normalize_period(text: str, pattern: str) -> str | None:
    """Return what a period reads as, written anew; None if it cannot be read."""
    begin = _parse_period(text, pattern)
    return None if begin is None else begin.strftime(pattern)


def _parse_period(text: str, pattern: str) -> datetime | None:
    """Return when a period begins; None if it cannot be read."""
    try:
        return datetime.strptime(text, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None
