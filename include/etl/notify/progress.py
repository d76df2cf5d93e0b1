"""How far a run of a notice is, how fast it goes, and when it will be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.db.connection import Connection
from etl.notify.store import progress as notice_progress
from etl.notify.store import retries, runs
from etl.notify.store.progress import RecentSends, RunStatus
from etl.notify.store.runs import RunState

_MESSAGE_COUNTS = ("sent", "failed", "unknown")
_ENDED_COUNTS = (*_MESSAGE_COUNTS, "suppressed", "expired", "unreachable", "repeated")


@dataclass(frozen=True)
class RunProgress:
    """A run at an instant.

    Parameters
    ----------
    run
        Which.
    totals
        Its chunks, and its deliveries by what became of them.
    channel_count
        How many its notice has: each recipient has as many deliveries.
    failures
        Error class → deliveries that failed.
    recent
        What was sent lately.
    as_of
        The instant.
    """

    run: RunStatus
    totals: Mapping[str, int]
    channel_count: int
    failures: Mapping[str, int]
    recent: RecentSends
    as_of: datetime

    @property
    def expected_deliveries(self) -> int:
        """How many there will be."""
        return self.run.recipients * self.channel_count

    @property
    def ended_deliveries(self) -> int:
        """How many have ended, sent or not."""
        return sum(self.totals[name] for name in _ENDED_COUNTS)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.run.state in (RunState.DONE.value, RunState.CANCELLED.value)

    @property
    def rate(self) -> float | None:
        """Messages a second, lately; None if nothing was sent in that time."""
        return self.recent.messages / self.recent.seconds if self.recent.messages and not self.is_over else None

    @property
    def average_rate(self) -> float | None:
        """Messages a second since the run was planned; None before the first."""
        took = ((self.run.ended_at or self.as_of) - self.run.planned_at).total_seconds()
        return self._message_count / took if self._message_count and took > 0 else None

    @property
    def time_left(self) -> timedelta | None:
        """How long it takes from now at the rate, or at the pace before there is one; None if it does not send."""
        pace = self.rate or self.run.pace
        if self.run.state != RunState.RUNNING.value or not pace:
            return None
        left = max(self.expected_deliveries - self.ended_deliveries, self.totals["reopened"])
        # Of those that ended so far, so many were worth a message.
        share = self._message_count / self.ended_deliveries if self.ended_deliveries else 1
        return timedelta(seconds=max(left * share, self.totals["reopened"]) / pace)

    @property
    def _message_count(self) -> int:
        return sum(self.totals[name] for name in _MESSAGE_COUNTS)


def read_progress(run_id: int, *, channel_count: int, as_of: datetime, db: Connection) -> RunProgress:
    """Return how far a run is; it reads no more than its chunks.

    Raises
    ------
    NoticeRunMissing
        If there is none of this id.
    """
    return RunProgress(
        run=notice_progress.find_status(db, run_id),
        totals=runs.read_totals(db, run_id),
        channel_count=channel_count,
        failures=retries.count_failures(db, run_id),
        recent=notice_progress.read_recent_sends(db, run_id),
        as_of=as_of,
    )
