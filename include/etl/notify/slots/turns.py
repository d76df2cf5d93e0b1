"""Turns: senders of several runs share the slots of a queue, which Airflow alone would give to the oldest run.

Airflow starts the waiting task of the oldest run first, and never takes a slot away. So senders look every page, in
Redis, who else waits for a slot of their queue. A sender leaves its slot when its turn is over and a run waits that
has fewer senders than its own; one that gets a slot out of turn gives it back at once. Runs with the fewest senders go
first, so a run that has just begun waits for one turn at most. This decides only who goes first: it may be lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import redis

from etl.declare.queue import Queue
from etl.notify.pacing import RunWaits

TURN = timedelta(seconds=15)
"""How long a sender keeps its slot while others wait; starting another one costs some two seconds."""
MAX_TURN = timedelta(minutes=4)
"""How long a sender keeps its slot at most; it ends within the five minutes that a worker has to stop."""
REQUEUE_DELAY = timedelta(seconds=1)
"""Wait of a sender that only had to end its turn."""
BOUNCE_DELAY = timedelta(seconds=5)
"""Wait of a sender that got a slot out of turn; the one whose turn it is starts meanwhile."""
SILENCE = timedelta(seconds=60)
"""A sender that did not look for so long was killed, and waits; one that was called and has not come can be again."""
OUTAGE_DELAY = timedelta(seconds=10)
"""Wait of a sender that cannot ask for its turn."""
MAX_CALLS = 3
"""How often a waiting sender is called; one that never comes belongs to a run that was ended by hand."""

_SCRIPT = Path(__file__).with_name("turns.lua").read_text()


class TurnOver(RunWaits):
    """The turn of a sender is over, or has not come."""

    def __init__(self, run_id: int, reason: str, wait: timedelta) -> None:
        super().__init__(f"run {run_id} leaves its slot: {reason}.", wait)


class TurnsUnavailable(RunWaits):
    """Redis does not answer, so that nobody knows whose turn it is; this spends no retry of the task."""

    def __init__(self, sender: SenderId, error: redis.RedisError) -> None:
        super().__init__(
            f"run {sender.run_id}: the Redis of AIRFLOW_CONN_LIMITS does not say whose turn it is "
            f"({type(error).__name__}); nothing is lost, and the sender asks again.",
            OUTAGE_DELAY,
        )


@dataclass(frozen=True)
class SenderId:
    """One of the senders of a run.

    Parameters
    ----------
    run_id
        The run.
    number
        From 0.
    """

    run_id: int
    number: int

    def __str__(self) -> str:
        """Return its name in Redis."""
        return f"{self.run_id}/{self.number}"


class Turns:
    """The turns of the senders of one queue; each method raises `TurnsUnavailable` if Redis does not answer.

    Parameters
    ----------
    server
        The Redis that all workers share.
    queue
        Their queue.
    clock
        Returns the time in milliseconds; None for the clock of Redis.
    """

    def __init__(self, server: redis.Redis, queue: Queue, *, clock: Callable[[], int] | None = None) -> None:
        self._key = f"turns:{queue.name}"
        self._slots = queue.slots
        self._clock = clock
        self._script = server.register_script(_SCRIPT)

    def enqueue(self, run_id: int, senders: int) -> None:
        """Announce the senders of a run before Airflow starts them."""
        for number in range(senders):
            self._call("enqueue", SenderId(run_id, number))

    def begin(self, sender: SenderId, *, stopped: Collection[int]) -> None:
        """Begin a turn.

        Parameters
        ----------
        stopped
            Ids of runs that send nothing, such as paused ones, which need no slot.

        Raises
        ------
        TurnOver
            If others are to have the slot first.
        """
        if self._call("begin", sender, slots=self._slots, stopped=_as_set(stopped)):
            raise TurnOver(sender.run_id, "another run has fewer senders, and comes first", BOUNCE_DELAY)

    def end_if_others_wait(self, sender: SenderId, *, find_stopped: Callable[[], Collection[int]]) -> None:
        """End a turn that has lasted long enough if another run waits; call this at least every few seconds.

        Parameters
        ----------
        find_stopped
            Returns the ids of runs that send nothing.

        Raises
        ------
        TurnOver
            If the slot is to be left to another run.
        """
        if not self._call("look", sender):
            return
        if wait := self._call("yield", sender, slots=self._slots, stopped=_as_set(find_stopped())):
            raise TurnOver(sender.run_id, "another run waits for one", timedelta(milliseconds=wait))

    def postpone(self, sender: SenderId, wait: timedelta, *, max_wait: timedelta | None = None) -> timedelta:
        """End a turn; the sender wants a slot again after a wait, which is returned.

        Parameters
        ----------
        max_wait
            Up to which the wait doubles each time that the sender comes back and cannot send; None if it does not.
        """
        waits = {"wait": _milliseconds(wait), "max_wait": _milliseconds(max_wait or wait)}
        return timedelta(milliseconds=self._call("postpone", sender, **waits))

    def leave(self, sender: SenderId) -> None:
        """End the last turn of a sender."""
        self._call("leave", sender)

    def _call(self, operation: str, sender: SenderId, **arguments: object) -> int:
        values = {
            "turn": _milliseconds(TURN),
            "bounce": _milliseconds(BOUNCE_DELAY),
            "silence": _milliseconds(SILENCE),
            "max_calls": MAX_CALLS,
            **({"now": self._clock()} if self._clock else {}),
            **arguments,
        }
        try:
            return int(self._script(keys=[self._key], args=[operation, str(sender), json.dumps(values)]))
        except redis.RedisError as error:
            raise TurnsUnavailable(sender, error) from error


def _as_set(run_ids: Collection[int]) -> dict[str, bool]:
    return {str(run_id): True for run_id in run_ids}


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
