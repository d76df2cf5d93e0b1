"""Waits for programs to be ready, and gives up at once when one of them ends."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from dev.servers import private_files
from dev.servers.errors import NotReady, ProgramDied
from dev.stack.home import Home
from dev.stack.supervisor import DEAD_STATES, Supervisor

_LOG_TAIL_LINES = 20
_READY_POLL_INTERVAL = timedelta(milliseconds=100)


def until_ready(
    unready: Callable[[], Sequence[str]],
    *,
    programs: Sequence[str],
    supervisor: Supervisor,
    home: Home,
    timeout: timedelta,
) -> None:
    """Wait until nothing is missing.

    Parameters
    ----------
    unready
        Returns what is not ready yet, named as its program if that is one of `programs`.
    programs
        Must not end meanwhile.
    supervisor
        Knows whether they do.
    home
        Whose logs are shown.
    timeout
        How long to wait.

    Raises
    ------
    ProgramDied
        If a program ends.
    NotReady
        If something is still missing when the time is over.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        absent = unready()
        # Even if nothing is missing: another program may answer on the port of one that ended.
        states = supervisor.states() or {}
        for name in programs:
            if name in states and states[name].state in DEAD_STATES:
                raise ProgramDied(
                    name, log=home.log_file(name), tail=private_files.tail(home.log_file(name), _LOG_TAIL_LINES)
                )
        if not absent:
            return
        if time.monotonic() > deadline:
            log = home.log_file(absent[0].replace("_", "-"))
            what = f"{', '.join(absent)} did not answer"
            raise NotReady(what, waited=timeout, log=log, tail=private_files.tail(log, _LOG_TAIL_LINES))
        time.sleep(_READY_POLL_INTERVAL.total_seconds())
