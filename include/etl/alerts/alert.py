"""What is to be told about the promise of a run: facts only."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from etl.errors import SluiceError

_LINES = 4
_WIDTH = 300
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'|\([^()]*\)=\([^()]*\)')
_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+")
_LONG_NUMBER = re.compile(r"\b[A-Z]{0,4}\d(?:[ -]?[0-9A-Z]){8,}\b")
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]*@")


@dataclass(frozen=True)
class Failure:
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


def first_lines(message: str, error_type: type[BaseException]) -> str:
    """Return the first lines of what an error says, fit for a mail.

    What Sluice raises on purpose names ids and remedies only. Anything else may quote a record, as a database does with
    a value that it cannot read: what it quotes, and whatever looks like an address or an account number, is left out,
    and so is all but its first line.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if issubclass(error_type, SluiceError):
        return "\n".join(_cut(line) for line in lines[:_LINES])
    return "".join(_cut(_without_values(line)) for line in lines[:1])


def _without_values(line: str) -> str:
    for pattern in (_CREDENTIALS, _QUOTED, _ADDRESS, _LONG_NUMBER):
        line = pattern.sub("…", line)
    return line


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


PROMISING = ("scheduled", "asset_triggered")
"""Types of runs that promise anything; nobody waits for a backfill or a manual run without looking."""


class Kind(Enum):
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
class Progress:
    """How far a run is.

    Parameters
    ----------
    chunks
        Chunks that it planned; 0 if it has none, or none yet.
    loaded
        Chunks that are loaded.
    """

    chunks: int = 0
    loaded: int = 0


@dataclass(frozen=True)
class Rejected:
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
class News:
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
    promised_by
        When it promised to be done; None if that is not known.
    interval
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
    failed_tasks
        How many failed.
    rejected
        Records that were left out.
    is_made_up_for
        Whether the next run does what this one left.
    """

    kind: Kind
    dag_id: str
    run_id: str
    as_of: datetime
    url: str
    promised_by: datetime | None = None
    interval: tuple[datetime, datetime] | None = None
    started_at: datetime | None = None
    finish_at: datetime | None = None
    basis: str = ""
    reason: str = ""
    progress: Progress = Progress()
    blockers: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    failed_tasks: int = 0
    rejected: tuple[Rejected, ...] = ()
    is_made_up_for: bool = True
