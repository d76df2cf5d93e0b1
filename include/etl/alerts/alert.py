"""What is to be told about the promise of a run: facts only."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from etl.errors import SluiceError

_MAX_LINES = 4
_MAX_WIDTH = 300
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'|\([^()]*\)=\([^()]*\)')
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_LONG_NUMBER = re.compile(r"\b[A-Z]{0,4}\d(?:[ -]?[0-9A-Z]){8,}\b")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*@")


@dataclass(frozen=True)
class TaskFailure:
    """The failure of a task.

    Parameters
    ----------
    task_id
        Which task.
    map_index
        Its place in the map; -1 if it is not mapped.
    attempt
        1-based.
    error_type
        Name of the error's class; empty if the task ended without a word.
    message
        First lines of what it says.
    """

    task_id: str
    map_index: int
    attempt: int
    error_type: str
    message: str


def sanitize_message(message: str, error_type: type[BaseException]) -> str:
    """Return the first lines of what an error says, fit for a mail.

    What Sluice raises on purpose names ids and remedies only. Anything else may quote a record, as a database does with
    a value that it cannot read: what it quotes, and whatever looks like an address or an account number, is left out,
    and so is all but its first line.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if issubclass(error_type, SluiceError):
        return "\n".join(_truncate(line) for line in lines[:_MAX_LINES])
    return "".join(_truncate(_redact_values(line)) for line in lines[:1])


def _redact_values(line: str) -> str:
    for pattern in (_CREDENTIALS, _QUOTED, _ADDRESS, _LONG_NUMBER):
        line = pattern.sub("…", line)
    return line


def _truncate(line: str) -> str:
    return line if len(line) <= _MAX_WIDTH else f"{line[: _MAX_WIDTH - 1]}…"


RUN_TYPES_WITH_DEADLINE = ("scheduled", "asset_triggered")
"""Types of runs that promise anything; nobody waits for a backfill or a manual run without looking."""


class AlertKind(Enum):
    """The mails about a run; each is sent at most once."""

    FORECAST = "forecast"
    """It is going to be late."""

    MISSED = "missed"
    """It is late."""

    RECOVERED = "recovered"
    """It is done after all; only if one of the above was told."""

    FAILED = "failed"
    """It failed; nothing is told of its promise any more."""


@dataclass(frozen=True)
class ChunkProgress:
    """How far a run is.

    Parameters
    ----------
    chunks
        Chunks that it planned; 0 if it has none, or none yet.
    chunks_loaded
        Chunks that are loaded.
    """

    chunks: int = 0
    chunks_loaded: int = 0


@dataclass(frozen=True)
class RejectsByRule:
    """Records that were left out.

    Parameters
    ----------
    rule
        Which rule they broke.
    rejects
        How many.
    """

    rule: str
    rejects: int


@dataclass(frozen=True)
class Alert:
    """The facts of one mail.

    Parameters
    ----------
    kind
        Which mail.
    dag_id, run_id
        Which run.
    as_of
        When the facts were gathered.
    url
        The run in the web UI.
    deadline_at
        When it promised to be done; None if that is not known.
    data_interval
        The data interval that it is about; None if it has none.
    started_at
        When it started; None if it has not.
    finish_at
        When it was done, or will be by estimate; None if neither is known.
    basis
        What the estimate rests on.
    reason
        Airflow's word for why the run itself failed, such as `timed_out`; empty if its tasks say it.
    progress
        How far it is.
    blockers
        What it waits for, a line each.
    failures
        Why tasks failed; the first few.
    failed_task_count
        How many failed.
    rejects
        Records that were left out.
    next_run_catches_up
        Whether the next run does what this one left.
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
    next_run_catches_up: bool = True
