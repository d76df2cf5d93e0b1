"""Alerts about a run and its deadline: the facts of one mail, and error messages that are safe to mail."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from etl.errors import SluiceError

RUN_TYPES_WITH_DEADLINE = ("scheduled", "asset_triggered")
"""Run types that have a deadline; nobody depends on a backfill or a manual run without watching it."""

_MAX_LINES = 4
_MAX_WIDTH = 300
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'|\([^()]*\)=\([^()]*\)')
_WORD = re.compile(r"[^\s<>]+")
_LONG_NUMBER = re.compile(r"\b[A-Z]{0,4}\d(?:[ -]?[0-9A-Z]){8,}\b")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*@")


class AlertKind(Enum):
    """Kinds of alerts; a run gets each at most once."""

    FORECAST = "forecast"
    """The run is expected to miss its deadline."""

    MISSED = "missed"
    """The run missed its deadline."""

    RECOVERED = "recovered"
    """The run is done after all; only if one of the alerts above exists."""

    FAILED = "failed"
    """The run failed; no alert about its deadline follows."""

    LOGINS_STOPPED = "logins_stopped"
    """The run succeeded, but many logins stopped in it."""

    HELD = "held"
    """The run of a notice is held, since its channels refuse everything."""

    RESUMED = "resumed"
    """The run of a notice was held, and sends again."""


@dataclass(frozen=True)
class TaskFailure:
    """The failure of a task.

    Parameters
    ----------
    task_id
        Id of the task, with its group.
    map_index
        Index of the mapped task; -1 if it is not mapped.
    attempt
        1-based.
    error_type
        Name of the error's class; empty if the task ended without an error.
    message
        First lines of the error message; see `sanitize_message`.
    """

    task_id: str
    map_index: int
    attempt: int
    error_type: str
    message: str


@dataclass(frozen=True)
class ChunkProgress:
    """How many chunks of a run are loaded.

    Parameters
    ----------
    chunks
        Planned chunks; 0 if the run has none, or none yet.
    chunks_loaded
        Loaded chunks.
    """

    chunks: int = 0
    chunks_loaded: int = 0


@dataclass(frozen=True)
class RejectsByRule:
    """Rejected records of a run that broke the same rule.

    Parameters
    ----------
    rule
        Name of the rule.
    rejects
        Number of records.
    """

    rule: str
    rejects: int


@dataclass(frozen=True)
class LoginsByOutcome:
    """Logins of a run with the same outcome.

    Parameters
    ----------
    outcome
        What became of them, such as `stopped`.
    reason
        The provider's error code; empty if they have no common one.
    logins
        Number of logins.
    remedy
        What a person can do about them; empty if unknown.
    """

    outcome: str
    reason: str
    logins: int
    remedy: str = ""


@dataclass(frozen=True)
class NoticeOutcome:
    """What became so far of the messages of a run of a notice.

    Parameters
    ----------
    run_id
        Its number in `sluice notify`.
    state
        Its state, such as `held` or `failed`.
    reason
        Why it is held or has failed; empty otherwise.
    sent, failed, deferred, unknown, expired
        Number of messages.
    refusals
        Who refused messages, in what words and how often, one line each.
    """

    run_id: int
    state: str
    reason: str
    sent: int
    failed: int
    deferred: int
    unknown: int
    expired: int = 0
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alert:
    """The facts of one mail.

    Parameters
    ----------
    kind
        Kind of alert.
    dag_id, run_id
        The run.
    as_of
        When the facts were gathered.
    url
        The run in Airflow's web UI.
    deadline_at
        Deadline of the run; None if unknown.
    data_interval
        Data interval of the run; None if it has none.
    started_at
        Start of the run; None if it has not started.
    finish_at
        Actual or estimated end of the run; None if neither is known.
    basis
        What the estimate is based on, in words.
    reason
        Airflow's reason why the run itself failed, such as `timed_out`; empty if its failed tasks explain it.
    progress
        Chunks that are loaded.
    blockers
        What the run waits for, one line each.
    failures
        The first few failures of its tasks.
    failed_task_count
        Number of failed tasks.
    rejects
        Rejected records, by rule.
    logins
        Logins of the run, by outcome and error code.
    notice
        Messages of the run; None if it is not the run of a notice.
    next_run_catches_up
        Whether the next run does the work that this one did not.
    """

    kind: AlertKind
    dag_id: str
    run_id: str
    as_of: datetime
    url: str
    deadline_at: datetime | None = None
    data_interval: tuple[datetime, datetime] | None = None
    started_at: datetime | None = None
    finish_at: datetime | None = None
    basis: str = ""
    reason: str = ""
    progress: ChunkProgress = ChunkProgress()
    blockers: tuple[str, ...] = ()
    failures: tuple[TaskFailure, ...] = ()
    failed_task_count: int = 0
    rejects: tuple[RejectsByRule, ...] = ()
    logins: tuple[LoginsByOutcome, ...] = ()
    notice: NoticeOutcome | None = None
    next_run_catches_up: bool = True


def sanitize_message(message: str, error_type: type[BaseException]) -> str:
    """Return the first lines of an error message, without values of records or credentials.

    Sluice's own errors name only ids and remedies; their first four lines are kept. Any other message may quote a
    record, as a database does with a value that it cannot parse: only its first line is kept, and quoted text, mail
    addresses, credentials in URLs and whatever looks like an account number are replaced by `…`.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if issubclass(error_type, SluiceError):
        return "\n".join(_truncate(line) for line in lines[:_MAX_LINES])
    return "".join(_truncate(_redact_values(line)) for line in lines[:1])


def _redact_values(line: str) -> str:
    line = _QUOTED.sub("…", _CREDENTIALS.sub("…", line))
    # A pattern for addresses would read a long word again from each of its characters.
    line = _WORD.sub(lambda word: "…" if "@" in word[0] else word[0], line)
    return _LONG_NUMBER.sub("…", line)


def _truncate(line: str) -> str:
    return line if len(line) <= _MAX_WIDTH else f"{line[: _MAX_WIDTH - 1]}…"
