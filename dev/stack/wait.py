"""Waiting until programs are ready, which fails at once if one of them ends."""

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
    """Wait until everything is ready.

    Parameters
    ----------
    unready
        Returns what is not ready yet: names of `programs`, or of components of Airflow.
    programs
        Programs that must keep running.
    supervisor
        Supervisor of the programs.
    home
        Home with the logs that error messages quote.
    timeout
        Limit of the wait.

    Raises
    ------
    ProgramDied
        If a program ends.
    NotReady
        If something is still not ready after `timeout`.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        waiting_for = unready()
        # Checked even if everything is ready: another server may respond on the port of a program that ended.
        states = supervisor.states() or {}
        for name in programs:
            if name in states and states[name].state in DEAD_STATES:
                raise ProgramDied(
                    name, log=home.log_file(name), tail=private_files.tail(home.log_file(name), _LOG_TAIL_LINES)
                )
        if not waiting_for:
            return
        if time.monotonic() > deadline:
            log = home.log_file(waiting_for[0].replace("_", "-"))
            what = f"{', '.join(waiting_for)} did not answer"
            raise NotReady(what, waited=timeout, log=log, tail=private_files.tail(log, _LOG_TAIL_LINES))
        time.sleep(_READY_POLL_INTERVAL.total_seconds())
