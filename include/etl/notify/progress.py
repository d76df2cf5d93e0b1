"""Progress of a notice run: how much of it has ended, its rate, and the time left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.db.connection import Connection
from etl.notify.audience.totals import OUTCOMES
from etl.notify.bounces.store import bounces
from etl.notify.health.breaker import CHANNEL, Breaker
from etl.notify.store import breakers, deferrals, failed_deliveries, progress, runs
from etl.notify.store.deferrals import DeferralGroup
from etl.notify.store.progress import RecentSends, RunStatus
from etl.notify.store.runs import RunState

_MAX_BREAKERS = 20
_MESSAGE_COUNTS = ("sent", "failed", "unknown")
_ENDED_COUNTS = tuple(name for name in OUTCOMES if name != "deferred")


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run at an instant.

    Parameters
    ----------
    run
        Status of the run.
    totals
        Counts of its chunks, and of its deliveries by outcome.
    channel_count
        Number of channels of the notice; each recipient has one delivery per channel.
    failures
        Error class → failed deliveries.
    deferrals
        Deferred deliveries by why and where they wait.
    bounces
        Kind of a bounce → deliveries, including those that bounced after they were sent.
    breakers
        Open circuit breakers of the notice, those of whole channels first, at most twenty.
    recent
        Messages sent recently.
    as_of
        The instant.
    """

    run: RunStatus
    totals: Mapping[str, int]
    channel_count: int
    failures: Mapping[str, int]
    deferrals: Sequence[DeferralGroup]
    bounces: Mapping[str, int]
    breakers: Sequence[Breaker]
    recent: RecentSends
    as_of: datetime

    @property
    def expected_deliveries(self) -> int:
        """Number of deliveries when the run is done."""
        return self.run.recipients * self.channel_count

    @property
    def ended_deliveries(self) -> int:
        """Number of deliveries that have ended, sent or not."""
        return sum(self.totals[name] for name in _ENDED_COUNTS)

    @property
    def is_over(self) -> bool:
        """Whether the run is done, cancelled or failed."""
        return self.run.state in (RunState.DONE.value, RunState.CANCELLED.value, RunState.FAILED.value)

    @property
    def rate(self) -> float | None:
        """Messages a second, recently; None if none was sent recently or the run is over."""
        return self.recent.messages / self.recent.seconds if self.recent.messages and not self.is_over else None

    @property
    def average_rate(self) -> float | None:
        """Messages a second since the run was planned; None before the first message."""
        seconds = ((self.run.ended_at or self.as_of) - self.run.planned_at).total_seconds()
        return self._message_count / seconds if self._message_count and seconds > 0 else None

    @property
    def time_left(self) -> timedelta | None:
        """Time left at the current rate, or at the pace while there is no rate; None if the run is not sending.

        It is at least the time until the last deferred delivery is due; if its server defers it again, it takes longer.
        """
        rate = self.rate or self.run.pace
        if self.run.state != RunState.RUNNING.value or not rate:
            return None
        deferred = self.totals["deferred"]
        remaining = max(self.expected_deliveries - self.ended_deliveries, deferred)
        # Share of finished deliveries that led to an actual message.
        message_share = self._message_count / self.ended_deliveries if self.ended_deliveries else 1
        sending_time = timedelta(seconds=max(remaining * message_share, deferred) / rate)
        return max(sending_time, *(group.last_at - self.as_of for group in self.deferrals), timedelta())

    @property
    def _message_count(self) -> int:
        return sum(self.totals[name] for name in _MESSAGE_COUNTS)


def read_progress(run_id: int, *, channel_count: int, as_of: datetime, db: Connection) -> RunProgress:
    """Return the progress of a run; the ledger is not read.

    Raises
    ------
    NoticeRunMissing
        If there is no such run.
    """
    status = progress.find_status(db, run_id)
    return RunProgress(
        run=status,
        totals=runs.read_totals(db, run_id),
        channel_count=channel_count,
        failures=failed_deliveries.count_failures(db, run_id),
        deferrals=deferrals.summarize(db, run_id),
        bounces=bounces.count_by_run(db, run_id),
        breakers=_list_open_breakers(run_id, db),
        recent=progress.read_recent_sends(db, run_id),
        as_of=as_of,
    )


def _list_open_breakers(run_id: int, db: Connection) -> list[Breaker]:
    """Return open breakers of the notice of a run, those of whole channels first, then those that are open longest."""
    found = [each for each in breakers.read(db, runs.find(db, run_id).notice_id) if each.is_open]
    return sorted(found, key=lambda each: (each.destination != CHANNEL, each.opened_at or each.counted_at))[
        :_MAX_BREAKERS
    ]
