"""Sender: sends the chunks of a run that no other sender is sending, one after the other, in the turns of its slot."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from etl.db.connection import Connection
from etl.db.locks import LockTaken
from etl.declare.notice import Notice
from etl.errors import RetryAfter
from etl.notify.pacing import RunWaits, SendingPaused
from etl.notify.slots.turns import MAX_TURN, REQUEUE_DELAY, SenderId, TurnOver, Turns
from etl.notify.store import chunks, runs

log = logging.getLogger(__name__)

LOOK_DELAY = timedelta(seconds=30)
"""Until a sender looks again whether chunks are left that others were sending."""

MAX_PAUSED_DELAY = timedelta(minutes=2)
"""Longest time until a sender looks again whether its run was resumed: each look costs over a second of CPU."""

SendChunk = Callable[[int, Callable[[], None]], None]
"""Sends the chunk of an ordinal; calls the second argument about every second."""


class OthersSend(RetryAfter):
    """The chunks that are left are being sent by other senders, which may still be killed."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"run {run_id}: other senders have all chunks that are left.", LOOK_DELAY)


def send_run(notice: Notice, run_id: int, number: int, *, db: Connection, turns: Turns, send_chunk: SendChunk) -> None:
    """Send the chunks of a run until all have ended; several senders can do so at the same time.

    A chunk that fails does not stop the others: its error is raised when they have been sent.

    Parameters
    ----------
    number
        Which of the run's senders this is, from 0.
    turns
        Turns of the senders of the notice's queue.
    send_chunk
        Sends one chunk.

    Raises
    ------
    RetryAfter
        If the turn of the sender is over, the run is paused, or the chunks that are left have to wait.
    """
    sender = SenderId(run_id, number)
    turns.begin(sender, stopped=runs.list_stopped(db))
    stop_at = time.monotonic() + min(MAX_TURN, notice.timeout / 2).total_seconds()

    def end_turn() -> None:
        turns.end_if_others_wait(sender, find_stopped=lambda: runs.list_stopped(db))
        if time.monotonic() >= stop_at:
            turns.postpone(sender, REQUEUE_DELAY)
            raise TurnOver(run_id, "a deploy must be able to end its worker", REQUEUE_DELAY)

    try:
        _send_chunks(run_id, db=db, send_chunk=lambda ordinal: send_chunk(ordinal, end_turn))
    except TurnOver:
        raise
    except SendingPaused as error:
        error.wait = turns.postpone(sender, error.wait, max_wait=MAX_PAUSED_DELAY)
        raise
    except RetryAfter as error:
        turns.postpone(sender, error.wait)
        raise
    except Exception:
        turns.postpone(sender, LOOK_DELAY)
        raise
    turns.leave(sender)


def _send_chunks(run_id: int, *, db: Connection, send_chunk: Callable[[int], None]) -> None:
    tried: set[int] = set()
    waits: list[RetryAfter] = []
    first_error: Exception | None = None
    while True:
        ordinal = next((each for each in chunks.list_unfinished(db, run_id) if each not in tried), None)
        if ordinal is None:
            break
        tried.add(ordinal)
        try:
            send_chunk(ordinal)
        except RunWaits:
            raise
        except LockTaken:
            waits.append(OthersSend(run_id))
        except RetryAfter as error:
            waits.append(error)
        except Exception as error:
            if db.broken or isinstance(error, MemoryError):
                raise
            log.exception("run %d: chunk %d failed; the others are sent first", run_id, ordinal)
            first_error = first_error or error
    if first_error:
        raise first_error
    if waits:
        raise min(waits, key=lambda error: error.wait)
