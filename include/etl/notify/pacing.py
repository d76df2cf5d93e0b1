"""Pacing: pause, resume, cancel and rate of a run while it is sent; all its senders share one pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from math import floor
from typing import Protocol

from etl.clients.rate_limits import Bucket, Limiter
from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.errors import RetryAfter
from etl.notify.store import runs
from etl.notify.store.runs import NoticeRun, RunState

REFRESH_INTERVAL = timedelta(seconds=1)
"""How often the run is read again; a change takes effect within this time plus that of one batch."""
MAX_WAIT = timedelta(minutes=1)
"""Longest wait inside a task; the task is rescheduled for a longer one."""
MAX_PAUSE = timedelta(minutes=1)
"""How long a task of a paused run keeps its slot, to continue at once when resumed, before it is rescheduled."""
PAUSED_RETRY_DELAY = timedelta(seconds=30)
"""Time until a rescheduled task of a paused run checks the run again."""
BATCH_WINDOW = timedelta(milliseconds=250)
"""Batch size, as time at the current pace. Two batches may overlap, which exceeds the pace by at most one batch."""
MAX_BATCH_SIZE = 1_000


class SendingPaused(RetryAfter):
    """A run is paused, or its pace is 0."""

    def __init__(self, run: NoticeRun) -> None:
        is_stopped = run.state in (RunState.PAUSED.value, RunState.HELD.value)
        reason = run.state if is_stopped else "at a pace of 0"
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id} is {reason}; nothing is lost.", PAUSED_RETRY_DELAY
        )


class PaceTooSlow(RetryAfter):
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
    """

    def __init__(
        self, db: Connection, limiter: Limiter, run_id: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._db = db
        self._limiter = limiter
        self._clock = clock
        self._run = runs.find(db, run_id)
        self._refreshed_at = clock()

    def current_run(self) -> NoticeRun:
        """Return the run, if it is sending.

        Raises
        ------
        SendingPaused
            If it is paused, held for another reason than refusals, or its pace is zero.
        SendingCancelled
            If it was cancelled.
        """
        if self._clock() - self._refreshed_at >= REFRESH_INTERVAL.total_seconds():
            self._run = runs.find(self._db, self._run.run_id)
            self._refreshed_at = self._clock()
        if self._run.state == RunState.CANCELLED.value:
            raise SendingCancelled
        is_held = self._run.state == RunState.HELD.value and not self._run.is_refused
        if self._run.state == RunState.PAUSED.value or is_held or not self._run.pace:
            raise SendingPaused(self._run)
        return self._run

    async def wait_until_sending(self) -> NoticeRun:
        """Wait while the run is paused, for at most a minute, and return it; the caller must have nothing claimed.

        Raises
        ------
        SendingPaused
            If it is still paused after that.
        SendingCancelled
            If it was cancelled.
        """
        wait_until = self._clock() + MAX_PAUSE.total_seconds()
        while True:
            try:
                return self.current_run()
            except SendingPaused:
                if self._clock() >= wait_until:
                    raise
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
        PaceTooSlow
            If the wait is too long for a task.
        """
        while True:
            run = self.current_run()
            paces = {f"notify:{run.notice}": run.pace, f"notify:{channel.name}:{host}": channel.pace}
            batch_size = min(requested, *(_batch_size(pace) for pace in paces.values()))
            buckets = [Bucket(key, timedelta(seconds=1 / pace), _batch_size(pace)) for key, pace in paces.items()]
            wait = self._limiter.take(buckets, calls=batch_size)
            if not wait:
                return batch_size
            if wait > MAX_WAIT:
                raise PaceTooSlow(run, wait)
            await asyncio.sleep(min(wait, REFRESH_INTERVAL).total_seconds())


def _batch_size(pace: float) -> int:
    return max(1, min(MAX_BATCH_SIZE, floor(pace * BATCH_WINDOW.total_seconds())))
