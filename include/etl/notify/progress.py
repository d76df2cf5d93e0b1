"""How far a run of a notice is, how fast it goes, and when it will be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.db.connection import Warehouse
from etl.notify.store import progress as notice_progress
from etl.notify.store import retries, runs
from etl.notify.store.progress import Pages, RunStatus
from etl.notify.store.runs import State

_MESSAGES = ("sent", "failed", "unknown")
_ENDED = (*_MESSAGES, "suppressed", "expired", "unreachable", "repeated")


@dataclass(frozen=True)
class Progress:
    """A run at an instant.

    Parameters
    ----------
    run
        Which.
    totals
        Its chunks, and its deliveries by what became of them.
    channels
        How many its notice has: each recipient has as many deliveries.
    failures
        Error class → deliveries that failed.
    pages
        What was sent lately.
    as_of
        The instant.
    """

    run: RunStatus
    totals: Mapping[str, int]
    channels: int
    failures: Mapping[str, int]
    pages: Pages
    as_of: datetime

    @property
    def deliveries(self) -> int:
        """How many there will be."""
        return self.run.recipients * self.channels

    @property
    def ended(self) -> int:
        """How many have ended, sent or not."""
        return sum(self.totals[name] for name in _ENDED)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.run.state in (State.DONE.value, State.CANCELLED.value)

    @property
    def rate(self) -> float | None:
        """Messages a second, lately; None if nothing was sent in that time."""
        return self.pages.messages / self.pages.seconds if self.pages.messages and not self.over else None

    @property
    def average(self) -> float | None:
        """Messages a second since the run was planned; None before the first."""
        took = ((self.run.ended_at or self.as_of) - self.run.planned_at).total_seconds()
        return self._messages / took if self._messages and took > 0 else None

    @property
    def left(self) -> timedelta | None:
        """How long it takes from now at the rate, or at the pace before there is one; None if it does not send."""
        pace = self.rate or self.run.pace
        if self.run.state != State.RUNNING.value or not pace:
            return None
        left = max(self.deliveries - self.ended, self.totals["reopened"])
        # Of those that ended so far, so many were worth a message.
        share = self._messages / self.ended if self.ended else 1
        return timedelta(seconds=max(left * share, self.totals["reopened"]) / pace)

    @property
    def _messages(self) -> int:
        return sum(self.totals[name] for name in _MESSAGES)


def progress(run_id: int, *, channels: int, as_of: datetime, warehouse: Warehouse) -> Progress:
    """Return how far a run is; it reads no more than its chunks.

    Raises
    ------
    NoticeRunMissing
        If there is none of this id.
    """
    return Progress(
        run=notice_progress.of_run(warehouse, run_id),
        totals=runs.totals(warehouse, run_id),
        channels=channels,
        failures=retries.failures(warehouse, run_id),
        pages=notice_progress.pages(warehouse, run_id),
        as_of=as_of,
    )
