"""Steering: what a person changes while a run is sent, and the pace that all its senders share."""

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
"""A change takes effect within this, and the time that one lot takes."""
MAX_WAIT = timedelta(minutes=1)
"""The longest wait that is slept inside a task; for a longer one it gives way."""
MAX_PAUSE = timedelta(minutes=1)
"""How long a task of a paused run waits in its slot, so that it goes on at once; then it gives way."""
PAUSED_RETRY_DELAY = timedelta(seconds=30)
"""How soon a task of a paused run comes back to look."""
BATCH_WINDOW = timedelta(milliseconds=250)
"""Messages are let through in lots of so much pace: the most that two lots together can exceed it by."""
MAX_BATCH_SIZE = 1_000


class SendingPaused(RetryAfter):
    """A run sends nothing for now."""

    def __init__(self, run: NoticeRun) -> None:
        found = "paused" if run.state == RunState.PAUSED.value else "at a pace of 0"
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id} is {found}; nothing is lost.", PAUSED_RETRY_DELAY
        )


class PaceTooSlow(RetryAfter):
    """The turn of a chunk comes too late to be waited for in a task's slot."""

    def __init__(self, run: NoticeRun, wait: timedelta) -> None:
        super().__init__(
            f"{run.notice} {run.period}: at {run.pace:g} messages a second its turn comes in {wait}.", wait
        )


class SendingCancelled(Exception):
    """A person ended the run; what is left of it is not sent."""


class Throttle(Protocol):
    """Lets messages through."""

    async def acquire(self, channel: Channel, host: str, requested: int, /) -> int:
        """Wait until messages may be sent, and return how many of those that are wanted."""


class RunControl:
    """A run as it is now, and its share of the global pace.

    Parameters
    ----------
    warehouse
        Where it is looked up, at most once a second.
    limiter
        The pace that all workers share.
    run_id
        Which run.
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
        """Return the run, if it sends.

        Raises
        ------
        SendingPaused
            If it is paused, or its pace is zero.
        SendingCancelled
            If it was cancelled.
        """
        if self._clock() - self._refreshed_at >= REFRESH_INTERVAL.total_seconds():
            self._run = runs.find(self._db, self._run.run_id)
            self._refreshed_at = self._clock()
        if self._run.state == RunState.CANCELLED.value:
            raise SendingCancelled
        if self._run.state == RunState.PAUSED.value or not self._run.pace:
            raise SendingPaused(self._run)
        return self._run

    async def wait_until_sending(self) -> NoticeRun:
        """Return the run once it sends; a pause is waited for a minute at most, and with nothing claimed.

        Raises
        ------
        SendingPaused
            If it takes longer.
        SendingCancelled
            If it was cancelled.
        """
        until = self._clock() + MAX_PAUSE.total_seconds()
        while True:
            try:
                return self.current_run()
            except SendingPaused:
                if self._clock() >= until:
                    raise
            await asyncio.sleep(REFRESH_INTERVAL.total_seconds())

    def page_size(self, channel_count: int) -> int:
        """Return how many recipients make at most one second of the pace, and at least one."""
        return max(1, min(MAX_BATCH_SIZE, floor(self._run.pace / channel_count)))

    async def acquire(self, channel: Channel, host: str, requested: int) -> int:
        """Wait until messages may be sent, and return how many of those that are wanted.

        Raises
        ------
        SendingPaused, SendingCancelled
            If a person stopped the run meanwhile.
        PaceTooSlow
            If the wait is too long for a task.
        """
        while True:
            run = self.current_run()
            paces = {f"notify:{run.notice}": run.pace, f"notify:{channel.name}:{host}": channel.pace}
            lot = min(requested, *(_batch_size(pace) for pace in paces.values()))
            buckets = [Bucket(key, timedelta(seconds=1 / pace), _batch_size(pace)) for key, pace in paces.items()]
            wait = self._limiter.take(buckets, calls=lot)
            if not wait:
                return lot
            if wait > MAX_WAIT:
                raise PaceTooSlow(run, wait)
            await asyncio.sleep(min(wait, REFRESH_INTERVAL).total_seconds())


def _batch_size(pace: float) -> int:
    return max(1, min(MAX_BATCH_SIZE, floor(pace * BATCH_WINDOW.total_seconds())))
