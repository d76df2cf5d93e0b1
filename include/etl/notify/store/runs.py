"""Runs of notices: one notice for one period, frozen when it is planned except for its pace and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg.types.json import Jsonb

from etl.db.connection import Connection
from etl.db.statements import StatementFile, statement
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.health.breaker import quote_answer
from etl.notify.store import announcements
from etl.notify.store.announcements import Announcement

_SQL = StatementFile("notify/runs")
_MAX_REFUSALS = 10


class NoticeRunMissing(PermanentError):
    """There is no such run of a notice."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no run {run_id} in notify.runs; `sluice notify status` lists them.")


class RunState(Enum):
    """Whether a run sends messages."""

    RUNNING = "running"
    PAUSED = "paused"
    HELD = "held"
    """It stopped by itself; the run's `reason` says why."""
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"
    """It has ended, and too few of its messages were delivered."""


@dataclass(frozen=True)
class Refusal:
    """Messages of a run that were refused by the same destination for the same reason.

    Parameters
    ----------
    channel, destination
        By whom: a channel, and a mail domain or push service; empty if the channel has only one.
    error_class, error
        Why, and one of the answers in the server's words; empty if there was none.
    messages
        How many.
    """

    channel: str
    destination: str
    error_class: str
    error: str
    messages: int

    def __str__(self) -> str:
        """Return whom, why and how many in one line."""
        whom = f"{self.destination} ({self.channel})" if self.destination else self.channel
        return f"{whom}: {self.messages:,} × {quote_answer(self.error_class, self.error)}"


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run so far, for an alert about the run of its Dag.

    Parameters
    ----------
    run_id, notice, period, state, reason
        As of `NoticeRun`.
    refusals
        The most frequent refusals; only of a run that has failed.
    sent, failed, deferred, unknown, expired
        Number of messages; without unknown ones that a person has dropped.
    """

    run_id: int
    notice: str
    period: str
    state: str
    reason: str
    refusals: tuple[Refusal, ...]
    sent: int
    failed: int
    deferred: int
    unknown: int
    expired: int


@dataclass(frozen=True)
class NoticeRun:
    """One notice for one period.

    Parameters
    ----------
    run_id
        Surrogate key.
    notice_id, notice
        Surrogate key and name of the notice.
    period
        Period of the run; a notice has one run for each.
    trigger
        Id of the Dag run, or name of the call, that planned it.
    as_of
        Instant as of which the audience is selected.
    expires_at
        When its messages expire; None for never.
    parameters
        Further values for its statements and templates.
    pace
        Current pace, in messages a second over all workers.
    state
        Current state.
    is_announced
        Whether recipients were listed explicitly, instead of selected by the notice's SQL.
    reason
        Why it is held or has failed; empty otherwise.
    planned_at
        When it was planned.
    is_refused
        Whether it is held since its channels refuse everything: it sends probes, and resumes by itself.
    has_breakers
        Whether some destination of its notice has refused messages recently.
    """

    run_id: int
    notice_id: int
    notice: str
    period: str
    trigger: str
    as_of: datetime
    expires_at: datetime | None
    parameters: Mapping[str, Any]
    pace: float
    state: str
    planned_at: datetime
    is_announced: bool = False
    reason: str = ""
    is_refused: bool = False
    has_breakers: bool = False

    @property
    def statement_file(self) -> str:
        """File with the statements that select its recipients."""
        return "notify/announcements" if self.is_announced else f"notices/{self.notice}"

    @property
    def sql_parameters(self) -> dict[str, Any]:
        """Values that the statements that select its recipients may bind."""
        values = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in self.parameters.items()}
        return {**values, "run_id": self.run_id, "period": self.period, "as_of": self.as_of}


def find(db: Connection, run_id: int) -> NoticeRun:
    """Return a run.

    Raises
    ------
    NoticeRunMissing
        If there is no such run.
    """
    run = _SQL["find"].first(db, NoticeRun, {"run_id": run_id})
    if run is None:
        raise NoticeRunMissing(run_id)
    return run


def find_by_period(db: Connection, notice: Notice, period: str) -> NoticeRun | None:
    """Return the run of a period, or None if it was not planned."""
    run_ids = _SQL["find_by_period"].scalars(db, {"notice": notice.name, "period": period})
    return find(db, run_ids[0]) if run_ids else None


def set_pace_or_state(db: Connection, run_id: int, *, pace: float | None = None, state: RunState | None = None) -> bool:
    """Change the pace or the state of a run; return False if it has ended or does not exist.

    Parameters
    ----------
    pace
        Messages a second over all workers, 0 to send nothing; None to leave it unchanged.
    state
        `RUNNING` to resume, which also tries at once what was refused; None to leave it unchanged. With `CANCELLED`,
        deferred deliveries end.
    """
    values = {"run_id": run_id, "pace": pace, "state": state.value if state else None}
    with db.transaction():
        is_changed = bool(_SQL["set_pace_or_state"].run(db, values))
        if is_changed and state is RunState.CANCELLED:
            statement("notify/deferrals", "cancel").run(db, values)
        if is_changed and state is RunState.RUNNING:
            statement("notify/breakers", "clear").run(db, values)
    return is_changed


def list_stopped(db: Connection) -> list[int]:
    """Return the runs that have not ended, but send nothing now: they are paused or held, or their pace is 0."""
    return _SQL["list_stopped"].scalars(db)


def read_totals(db: Connection, run_id: int) -> dict[str, int]:
    """Return the current totals of a run: its chunks and recipients, and its deliveries by outcome."""
    (totals,) = _SQL["read_totals"].dicts(db, {"run_id": run_id})
    return totals


def create(
    db: Connection,
    notice: Notice,
    period: str,
    *,
    trigger: str,
    as_of: datetime,
    parameters: Mapping[str, object],
    announcement: Announcement | None = None,
) -> NoticeRun | None:
    """Add the run of a period and return it; return None if there is one already.

    Parameters
    ----------
    announcement
        Recipients and values of an announcement; None to select recipients by the SQL of the notice.
    """
    values = {
        "notice_id": _SQL["find_or_create_notice"].scalar(db, {"notice": notice.name}),
        "period": period,
        "trigger": trigger,
        "as_of": as_of,
        "expires_at": as_of + notice.expiry if notice.expiry else None,
        "parameters": Jsonb(dict(parameters)),
        "pace": notice.pace,
        "max_failed_share": notice.max_failed_share,
    }
    run_ids = _SQL["create"].scalars(db, values)
    if not run_ids:
        return None
    (run_id,) = run_ids
    if announcement is not None:
        announcements.add(db, run_id, announcement)
    return find(db, run_id)


def save_report(db: Connection, run_id: int, totals: Mapping[str, int], refusals: Sequence[Refusal] = ()) -> None:
    """Store the totals of a run, and its refusals if it has failed; they replace those of an earlier report."""
    values = {"totals": Jsonb(dict(totals)), "refusals": Jsonb([asdict(refusal) for refusal in refusals])}
    _SQL["save_report"].run(db, {"run_id": run_id, **values})


def list_refusals(db: Connection, run_id: int) -> list[Refusal]:
    """Return who has refused messages of a run, in what words and how often, the most frequent first, at most ten."""
    return _SQL["list_refusals"].objects(db, Refusal, {"run_id": run_id, "limit": _MAX_REFUSALS})


def count_deliveries(db: Connection, run_id: int) -> int:
    """Return the number of deliveries of a run that are in the ledger, which is read once."""
    return int(_SQL["count_deliveries"].scalar(db, {"run_id": run_id}))


def save_dag_run(db: Connection, run_id: int, dag_run: str) -> None:
    """Record which run of the Dag sends a run, so that alerts about the one can tell of the other."""
    _SQL["save_dag_run"].run(db, {"run_id": run_id, "dag_run": dag_run})


def find_by_dag_run(db: Connection, *, dag_id: str, dag_run: str) -> RunOutcome | None:
    """Return what became so far of the run that a run of a notice's Dag sends; None if it sends none."""
    for row in _SQL["find_by_dag_run"].dicts(db, {"dag_id": dag_id, "dag_run": dag_run}):
        return RunOutcome(**{**row, "refusals": tuple(Refusal(**each) for each in row["refusals"])})
    return None
