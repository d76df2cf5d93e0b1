"""Pacing: pause, resume, cancel and rate of a run while it is sent; all its senders share one pace.

Runs of one notice share the highest of their paces, each in proportion to its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from math import floor
from typing import Protocol

from etl.clients.rate_limits import Bucket, Limiter, Share
from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.errors import RetryAfter
from etl.notify.slots.termination import StopRequest
from etl.notify.store import runs
from etl.notify.store.runs import NoticeRun, RunState

REFRESH_INTERVAL = timedelta(seconds=1)
"""How often the run is read again; a change takes effect within this time plus that of one batch."""
MAX_WAIT = timedelta(minutes=1)
"""Longest wait inside a task; the task is rescheduled for a longer one."""
MAX_PAUSE = timedelta(seconds=5)
"""How long a sender whose run is paused meanwhile keeps its slot, to continue at once when resumed."""
PAUSED_RETRY_DELAY = timedelta(seconds=30)
"""Time until a rescheduled task of a paused run checks the run again."""
SHARE_EXPIRY = timedelta(seconds=5)
"""A run that sent nothing for so long leaves its share of the notice's pace to the other runs."""
HANDOVER_DELAY = timedelta(seconds=10)
"""Time until the worker of a sender that was asked to stop has ended."""
BATCH_WINDOW = timedelta(milliseconds=250)
"""Batch size, as time at the current pace. Two batches may overlap, which exceeds the pace by at most one batch."""
MAX_BATCH_SIZE = 1_000

_STOPPED = (RunState.PAUSED.value, RunState.HELD.value)


class RunWaits(RetryAfter):
    """No chunk of the run can be sent now."""


class SendingPaused(RunWaits):
    """A run is paused or held, or its pace is 0."""

    def __init__(self, run: NoticeRun) -> None:
        why = f": {run.reason.rstrip('.')}" if run.reason else ""
        reason = f"{run.state}{why}" if run.state in _STOPPED else "at a pace of 0"
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id} is {reason}; nothing is lost.", PAUSED_RETRY_DELAY
        )


class SendingStopped(RunWaits):
    """The process of the sender was asked to end."""

    def __init__(self, run: NoticeRun) -> None:
        super().__init__(
            f"{run.notice} {run.period}: the worker has to end; run {run.run_id} continues on another.", HANDOVER_DELAY
        )


class PaceTooSlow(RunWaits):
    """At the current pace, a chunk would wait too long in its task's slot."""

    def __init__(self, run: NoticeRun, wait: timedelta) -> None:
        super().__init__(
            f"{run.notice} {run.period}: at {run.pace:g} messages a second its turn comes in {wait}.", wait
        )


class SendingCancelled(Exception):
    """The run was cancelled; its remaining messages are not sent."""


class Throttle(Protocol):
    """Limits the rate of messages."""

    async def acquire(self, channel: Channel, host: str, requested: int, /) -> int:
        """Wait until messages may be sent, and return how many: 1 to `requested`."""


class RunControl:
    """The current state of a run, and the throttle of its messages.

    Parameters
    ----------
    db
        Database of the run, which is read at most once a second.
    limiter
        Rate limits that all workers share.
    run_id
        The run.
    stop
        Whether this process was asked to end.
    end_turn
        Called about every second; raises `RunWaits` if the slot is to be left to another run.
    """

    def __init__(
        self,
        db: Connection,
        limiter: Limiter,
        run_id: int,
        *,
        stop: StopRequest | None = None,
        end_turn: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._limiter = limiter
        self._stop = stop or StopRequest()
        self._end_turn = end_turn
        self._clock = clock
        self._run = runs.find(db, run_id)
        self._refreshed_at = self._shared_at = self._looked_at = clock()
        self._share: Share | None = None

    def current_run(self) -> NoticeRun:
        """Return the run, if it is sending.

        Raises
        ------
        SendingPaused
            If it is paused, held for another reason than refusals, or its pace is zero.
        SendingStopped
            If this process was asked to end.
        SendingCancelled
            If it was cancelled.
        """
        self.require_not_stopped()
        if self._clock() - self._refreshed_at >= REFRESH_INTERVAL.total_seconds():
            self._run = runs.find(self._db, self._run.run_id)
            self._refreshed_at = self._clock()
        if self._run.state == RunState.CANCELLED.value:
            raise SendingCancelled
        is_stopped = self._run.state in _STOPPED and not self._run.is_refused
        if is_stopped or not self._run.pace:
            raise SendingPaused(self._run)
        return self._run

    def require_not_stopped(self) -> None:
        """Raise `SendingStopped` if this process was asked to end."""
        if self._stop.is_made:
            raise SendingStopped(self._run)

    async def wait_until_sending(self) -> NoticeRun:
        """Wait while the run is paused, for at most `MAX_PAUSE`, and return it; the caller must have nothing claimed.

        Raises
        ------
        SendingPaused
            If it is still paused after that.
        RetryAfter
            If the turn of the sender is over.
        SendingCancelled
            If it was cancelled.
        """
        wait_until = self._clock() + MAX_PAUSE.total_seconds()
        while True:
            try:
                run = self.current_run()
            except SendingPaused:
                if self._clock() >= wait_until:
                    raise
            else:
                self._look_at_turn()
                return run
            await asyncio.sleep(REFRESH_INTERVAL.total_seconds())

    def page_size(self, channel_count: int) -> int:
        """Return how many recipients need at most one second at the current pace; at least 1."""
        return max(1, min(MAX_BATCH_SIZE, floor(self._run.pace / channel_count)))

    async def acquire(self, channel: Channel, host: str, requested: int) -> int:
        """Wait until messages may be sent, and return how many: 1 to `requested`.

        Raises
        ------
        SendingPaused, SendingCancelled
            If the run was paused or cancelled meanwhile.
        RunWaits
            If the wait is too long for a task, or the turn of the sender is over.
        """
        while True:
            run = self.current_run()
            self._look_at_turn()
            share = self._current_share(run)
            paces = {
                f"notify:{run.notice}": share.group_rate,
                f"notify:{run.notice}:{run.run_id}": share.rate,
                f"notify:{channel.name}:{host}": channel.pace,
            }
            batch_size = min(requested, *(_batch_size(pace) for pace in paces.values()))
            buckets = [Bucket(key, timedelta(seconds=1 / pace), _batch_size(pace)) for key, pace in paces.items()]
            wait = self._limiter.take(buckets, calls=batch_size)
            if not wait:
                return batch_size
            if wait > MAX_WAIT:
                raise PaceTooSlow(run, wait)
            await asyncio.sleep(min(wait, REFRESH_INTERVAL).total_seconds())

    def _look_at_turn(self) -> None:
        """Look, at most once a second, whether the turn of the sender is over."""
        now = self._clock()
        if now - self._looked_at >= REFRESH_INTERVAL.total_seconds():
            self._looked_at = now
            self._end_turn()

    def _current_share(self, run: NoticeRun) -> Share:
        """Return the part of its notice's pace that the run has now; it is computed again every second."""
        now = self._clock()
        if self._share is None or now - self._shared_at >= REFRESH_INTERVAL.total_seconds():
            self._share = self._limiter.share(
                f"notify:{run.notice}:runs", str(run.run_id), run.pace, expiry=SHARE_EXPIRY
            )
            self._shared_at = now
        return self._share


def _batch_size(pace: float) -> int:
    return max(1, min(MAX_BATCH_SIZE, floor(pace * BATCH_WINDOW.total_seconds())))
