"""Notices: what is sent to whom, over which channels, and how fast."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from etl.declare import notice_rules
from etl.declare.channel import Medium
from etl.declare.schedule import After, last_interval
from etl.declare.values import require_identifier, require_kind

if TYPE_CHECKING:
    from etl.declare.queue import Queue

__all__ = ["After", "Category", "Consent", "Medium", "Notice", "Unknown"]
"""A declaration finds its words in one place."""

STATEMENTS = ("bounds", "recipients")
"""What the SQL file of a notice must have."""

_SOME_DAY = datetime(2026, 10, 20, tzinfo=UTC)


class Consent(Enum):
    """Who may be sent messages of a category."""

    OPT_OUT = "opt_out"
    """Everybody who did not say no."""
    OPT_IN = "opt_in"
    """Only those who said yes."""
    NONE = "none"
    """Everybody, since it is not theirs to refuse: a security alert."""


class Unknown(Enum):
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
        require_kind(f"category {self.name}", "consent", self.consent, Consent)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that is sent: one declaration, one SQL file and one folder of templates of the same name.

    Parameters
    ----------
    name
        As its file is called; names the SQL file (`include/sql/notices/`) and the folder of its templates
        (`include/notices/`), one for each part of a message: `email.subject.jinja`.
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
    channels: tuple[Medium, ...]
    category: Category
    queue: Queue
    pace: float
    period: str
    unknown: Unknown
    parameters: Mapping[str, object] = field(default_factory=dict)
    expiry: timedelta | None = None
    chunk_size: int = 10_000
    max_chunks: int = 256
    schedule: str | After | None = None
    timeout: timedelta = timedelta(hours=6)
    deadline: timedelta | None = None

    def __post_init__(self) -> None:
        notice_rules.check(self)

    def period_of(self, beginning: datetime) -> str:
        """Return the name of the period that begins then."""
        return beginning.strftime(self.period)

    def period_at(self, instant: datetime) -> str:
        """Return the name of the period that is meant at an instant if nobody says which.

        That of the last whole interval of the schedule; without a cron expression, that of the instant.
        """
        return self.period_of(last_interval(self.schedule, instant) if isinstance(self.schedule, str) else instant)

    def has_period(self, text: str) -> bool:
        """Return whether a period is written as this notice has it; `2026-1` would be told again of `2026-01`."""
        example = self.period_of(_SOME_DAY)
        if _read(example, self.period) == example:
            return _read(text, self.period) == text
        # A pattern that cannot be read back, such as a week without its day, is at least compared by its shape.
        return re.sub(r"[0-9]", "0", text) == re.sub(r"[0-9]", "0", example)

    def is_over(self, period: str, instant: datetime) -> bool:
        """Return whether a period is over at an instant; without a cron expression, or a date in its name, each is."""
        begins, last = (_begin(each, self.period) for each in (period, self.period_at(instant)))
        return begins is None or last is None or begins <= last or not isinstance(self.schedule, str)

    @property
    def templates(self) -> tuple[str, ...]:
        """Names of the templates that its folder must have."""
        return tuple(f"{medium.name}.{part}.jinja" for medium in self.channels for part in medium.parts)


def _read(text: str, pattern: str) -> str | None:
    """Return what a period reads as, written anew; None if it cannot be read."""
    begin = _begin(text, pattern)
    return None if begin is None else begin.strftime(pattern)


def _begin(text: str, pattern: str) -> datetime | None:
    """Return when a period begins; None if it cannot be read."""
    try:
        return datetime.strptime(text, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None
