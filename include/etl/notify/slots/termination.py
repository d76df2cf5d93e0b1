"""Termination: a block of work that SIGTERM asks to stop, and that may then stop where nothing is left in doubt."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

STOP_GRACE = timedelta(seconds=8)
"""How long a sender that is asked to stop may take to end what it has in flight; it is then interrupted anywhere.

Docker, Kubernetes and systemd kill a process after 10, 30 and 90 s if they are not told otherwise.
"""


class StopRequest:
    """Whether this process was asked to end."""

    def __init__(self) -> None:
        self.is_made = False


@contextmanager
def delay_termination(grace: timedelta = STOP_GRACE) -> Iterator[StopRequest]:
    """Turn the first SIGTERM during the block into a request, which the block should look at often.

    A second signal, or the end of the grace time, has the effect that the first would have had without this. So has the
    first if the block ends without an error, since the work after it is not prepared to be asked.

    Parameters
    ----------
    grace
        Time that the block has to end after the request.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    process_id = os.getpid()
    earlier = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(grace.total_seconds(), os.kill, (process_id, signal.SIGTERM))
    timer.daemon = True

    def ask(*_: object) -> None:
        if os.getpid() == process_id:
            signal.signal(signal.SIGTERM, earlier)
            request.is_made = True
            timer.start()

    signal.signal(signal.SIGTERM, ask)
    try:
        yield request
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, earlier)
    if request.is_made:
        os.kill(process_id, signal.SIGTERM)
