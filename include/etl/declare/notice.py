"""Notices: messages to users, with their channels, consent, pace and schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from reprlib import repr as shortened

from etl.declare.channel import Channel
from etl.declare.queue import Queue, require_timeout
from etl.declare.schedule import After, last_interval_start, require_cron
from etl.declare.timing.cap import Cap
from etl.declare.timing.locales import require_locale
from etl.declare.timing.window import SendWindow
from etl.declare.timing.zones import require_zone
from etl.declare.validation import (
    require_count,
    require_duration,
    require_identifier,
    require_pace,
    require_share,
    require_tuple,
    require_type,
)
from etl.errors import DeclarationError

__all__ = ["After", "Cap", "Category", "Channel", "Consent", "Notice", "SendWindow", "UnknownPolicy"]
"""Re-exported, so that a declaration imports from one module."""

REQUIRED_STATEMENTS = ("bounds", "recipients")
"""Statements that the SQL file of a notice must have."""

RECIPIENT_COLUMNS = ("position", "user_id", "dedupe_key")
"""Columns that the statement `recipients` must return."""

RECIPIENT_VALUES = (*RECIPIENT_COLUMNS, "unsubscribe_url", "locale", "time_zone")
"""Values that templates always get for a recipient."""

_SAMPLE_DAY = datetime(2026, 10, 20, tzinfo=UTC)
_DIRECTIVE = re.compile(r"%.?")
_DIRECTIVES = frozenset(f"%{letter}" for letter in "aAbBdGHIjmMpSuUVwWyYzZ%FTRD")

MAX_CHUNKS = 256
"""Progress is counted by chunk, and no message in the broker names a recipient."""

MAX_TRIES = 1_000
"""The ledger counts tries in two bytes."""

ANNOUNCEMENT_PREFIX = "key:"
"""Prefix of the period of a run that sends one announcement to listed users; its key follows."""

IMPLICIT_PARAMETERS = ("period", "as_of", "after", "stop", "limit", "run_id", "chunk_size", "max_chunks")
"""Parameters that statements always get."""


class Consent(Enum):
    """To whom messages of a category may be sent."""

    OPT_OUT = "opt_out"
    """To everybody who has not opted out."""
    OPT_IN = "opt_in"
    """Only to users who have opted in."""
    NONE = "none"
    """To everybody, since users cannot refuse such messages, such as security alerts."""


class UnknownPolicy(Enum):
    """What to do with a message of which it is unknown whether it was sent."""

    RESEND = "resend"
    """Send it again: twice is better than never."""
    HOLD = "hold"
    """Leave it to an operator: never is better than twice."""


@dataclass(frozen=True)
class Category:
    """A category of notices, to which a user can consent or object.

    Parameters
    ----------
    name
        As stored in `notify.consents`; several notices may share it.
    consent
        To whom its messages may be sent.
    window
        When its messages may be sent; None for always.
    cap
        How many of its messages a user gets in some time; None for any number.
    """

    name: str
    consent: Consent
    window: SendWindow | None = None
    cap: Cap | None = None

    def __post_init__(self) -> None:
        where = f"category {self.name}"
        require_identifier(where, "name", self.name)
        require_type(where, "consent", self.consent, Consent)
        require_type(where, "window", self.window, SendWindow, type(None))
        require_type(where, "cap", self.cap, Cap, type(None))
        for field_name in ("window", "cap"):
            _refuse_if_urgent(where, field_name, getattr(self, field_name), self)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A kind of message: one declaration, one SQL file and one folder of templates of the same name.

    Parameters
    ----------
    name
        The same as that of its folder in `include/etl/catalog/notices/`, which holds its declaration, `notice.py`, and
        its templates, one for each part of a message, such as `email.subject.jinja`. Its SQL: `include/sql/notices/`.
    summary
        What its messages say; shown with the Dag in Airflow's web UI.
    channels
        A recipient gets one message over each channel for which they have an address.
    category
        Category that its recipients consent or object to.
    queue
        Queue of its tasks.
    pace
        Messages per second over all workers at the start of a run; it can be changed during the run.
    period
        `strftime` format that turns the start of a data interval into the name of a period; each period is sent once.
    parameters
        Further parameters of its statements and templates, with default values that a run may override; frozen when the
        run is planned. Numbers with decimals, such as money, are written as text.
    expiry
        Time after the planning of a run at which its messages expire; None if they never do.
    unknown
        What to do with a message of which it is unknown whether it was sent.
    max_tries
        How often a message is tried that its server defers.
    patience
        Time after the first try within which such a message is tried again; but never after its expiry.
    max_failed_share
        Share of the messages that may fail; if more do, and at least ten, the run fails.
    chunk_size
        Recipients in a chunk.
    max_chunks
        Maximum number of chunks in a run, at most 256; if more were needed, chunks are larger instead.
    schedule
        Cron expression, in UTC, or `After` an entity was loaded; None if it is only triggered.
    timeout
        Maximum duration of one task.
    deadline
        Time by which a scheduled run must be done, after the end of its data interval; None if it has no deadline.
    window
        When its messages may be sent, by the clock of each recipient; None for the window of its category.
    spread
        Time over which a run is spread evenly: its pace is lowered so far when it is planned; None for no such time.
    time_zone, locale
        Time zone, and language and region (BCP 47), of recipients who named none, or one that does not exist. The
        templates whose names hold no language are in the language of `locale`.
    approval_above
        A person must approve a run of more recipients than this before it is sent; None if no run needs that.
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
    max_tries: int = 20
    patience: timedelta = timedelta(days=1)
    max_failed_share: float = 0.2
    chunk_size: int = 10_000
    max_chunks: int = 256
    schedule: str | After | None = None
    timeout: timedelta = timedelta(hours=6)
    deadline: timedelta | None = None
    window: SendWindow | None = None
    spread: timedelta | None = None
    time_zone: str = "UTC"
    locale: str = "en"
    approval_above: int | None = None

    def __post_init__(self) -> None:
        _validate(self)

    def period_starting(self, start: datetime) -> str:
        """Return the name of the period that starts at an instant."""
        return start.strftime(self.period)

    def default_period(self, as_of: datetime) -> str:
        """Return the name of the period of a run for which none is given.

        It is the last interval of the schedule that has ended at `as_of`; without a cron expression, the period that
        starts at `as_of`.
        """
        return self.period_starting(
            last_interval_start(self.schedule, as_of) if isinstance(self.schedule, str) else as_of
        )

    def is_valid_period(self, text: str) -> bool:
        """Return whether a period has the notice's format, since `2026-1` would send `2026-01` a second time."""
        example = self.period_starting(_SAMPLE_DAY)
        if _normalize_period(example, self.period) == example:
            return _normalize_period(text, self.period) == text
        # `strptime` cannot parse some formats back, such as a week without a day: compare only where the digits are.
        return re.sub(r"[0-9]", "0", text) == re.sub(r"[0-9]", "0", example)

    def has_period_ended(self, period: str, as_of: datetime) -> bool:
        """Return whether a period has ended at an instant; always true without a cron expression or parsable period."""
        start, last_start = (_parse_period(name, self.period) for name in (period, self.default_period(as_of)))
        return start is None or last_start is None or start <= last_start or not isinstance(self.schedule, str)

    def needs_approval(self, recipients: int) -> bool:
        """Return whether a person must approve a run of so many recipients before it is sent."""
        return self.approval_above is not None and recipients > self.approval_above

    @property
    def send_window(self) -> SendWindow | None:
        """When its messages may be sent; None for always."""
        return self.window or self.category.window

    @property
    def template_names(self) -> tuple[str, ...]:
        """Names of the templates that its folder must have."""
        return tuple(f"{channel.name}.{part}.jinja" for channel in self.channels for part in channel.parts)


def _validate(notice: Notice) -> None:
    """Refuse a notice that has invalid values or contradicts itself.

    Raises
    ------
    DeclarationError
        With the notice, the field, its value and the remedy.
    """
    where = f"notice {notice.name}"
    require_identifier(where, "name", notice.name)
    if notice.name == "now":
        raise DeclarationError(f"{where}: its Dag notify_now would clash with that of announcements; rename the notice")
    require_type(where, "summary", notice.summary, str)
    require_tuple(where, "channels", notice.channels, Channel, minimum=1)
    require_type(where, "category", notice.category, Category)
    require_type(where, "queue", notice.queue, Queue)
    require_type(where, "unknown", notice.unknown, UnknownPolicy)
    require_pace(where, "pace", notice.pace)
    require_count(where, "chunk_size", notice.chunk_size, minimum=1)
    require_count(where, "max_chunks", notice.max_chunks, minimum=1, maximum=MAX_CHUNKS)
    require_share(where, "max_failed_share", notice.max_failed_share)
    require_count(where, "max_tries", notice.max_tries, minimum=1, maximum=MAX_TRIES)
    require_duration(where, "patience", notice.patience)
    require_timeout(where, notice.timeout)
    require_type(where, "window", notice.window, SendWindow, type(None))
    _refuse_if_urgent(where, "window", notice.window, notice.category)
    require_zone(where, "time_zone", notice.time_zone)
    require_locale(where, "locale", notice.locale)
    if notice.approval_above is not None:
        require_count(where, "approval_above", notice.approval_above, minimum=0)
    for name in ("expiry", "deadline", "spread"):
        if getattr(notice, name) is not None:
            require_duration(where, name, getattr(notice, name))
    if notice.spread and notice.expiry and notice.spread >= notice.expiry:
        raise DeclarationError(
            f"{where}: spread is {notice.spread}, but its messages expire after {notice.expiry}; shorten spread"
        )
    if notice.schedule is not None and not isinstance(notice.schedule, After):
        require_type(where, "schedule", notice.schedule, str, After)
        require_cron(where, "schedule", notice.schedule)
    _check_period(where, notice)
    _check_parameters(where, notice)
    names = [channel.name for channel in notice.channels]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{where}: channel {name} is named twice; remove one")


def _refuse_if_urgent(where: str, field_name: str, value: object, category: Category) -> None:
    """Refuse to hold back messages that users cannot refuse, such as security alerts."""
    if value is not None and category.consent is Consent.NONE:
        raise DeclarationError(
            f"{where}: {field_name} would hold back messages of a category with Consent.NONE, which are sent at once; "
            f"remove {field_name}, or let users refuse the category"
        )


def _check_period(where: str, notice: Notice) -> None:
    require_type(where, "period", notice.period, str)
    if notice.period.startswith(ANNOUNCEMENT_PREFIX):
        raise DeclarationError(
            f"{where}: period begins with {ANNOUNCEMENT_PREFIX!r}, which is reserved for announcements; change it"
        )
    unknown = [each for each in _DIRECTIVE.findall(notice.period) if each not in _DIRECTIVES]
    if unknown or not notice.period.isprintable():
        found = unknown[0] if unknown else "a control character"
        raise DeclarationError(
            f"{where}: period is {notice.period!r}, which has {found!r}; write strftime directives such as %Y, %m, %d, "
            "%H and %M"
        )
    if not notice.period or _SAMPLE_DAY.strftime(notice.period) == notice.period:
        raise DeclarationError(
            f"{where}: period is {notice.period!r}, which is the same for every run, so that only the first would "
            "send; write a strftime format, such as '%Y-%m' for a month"
        )


def _check_parameters(where: str, notice: Notice) -> None:
    require_type(where, "parameters", notice.parameters, dict)
    for name, value in notice.parameters.items():
        require_identifier(where, "the name of a parameter", name)
        if name in RECIPIENT_VALUES:
            raise DeclarationError(f"{where}: parameter {name} has the name of a value of each recipient; rename it")
        if name in IMPLICIT_PARAMETERS:
            raise DeclarationError(f"{where}: parameter {name} is always given to its statements; rename it")
        _check_value(where, name, value)


def _check_value(where: str, name: str, value: object) -> None:
    """Refuse a value that would not come back from the run's row as it was declared."""
    if isinstance(value, float):
        raise DeclarationError(f"{where}: parameter {name} has {value}, a float; write the text '{value}'")
    if isinstance(value, Mapping):
        for key, item in value.items():
            require_type(where, f"a key of parameter {name}", key, str)
            _check_value(where, name, item)
    elif not isinstance(value, str | int):
        raise DeclarationError(
            f"{where}: parameter {name} has {shortened(value)} ({type(value).__name__}); "
            "write text, a whole number, a bool, or a dict of these"
        )


def _normalize_period(text: str, pattern: str) -> str | None:
    """Return a period parsed and formatted again; None if it cannot be parsed."""
    start = _parse_period(text, pattern)
    return None if start is None else start.strftime(pattern)


def _parse_period(text: str, pattern: str) -> datetime | None:
    """Return the start of a period; None if it cannot be parsed."""
    try:
        return datetime.strptime(text, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None
