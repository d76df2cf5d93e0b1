"""Ends what an earlier stack left running, such as when its supervisor was killed."""

import signal
from collections.abc import Callable
from datetime import timedelta

import psutil

from dev.servers import placement, postmaster, processes
from dev.stack.home import MARKER, Home

_GRACE = timedelta(seconds=5)
_SUPERVISOR_GRACE = timedelta(seconds=30)
_SUPERVISOR = "supervisor.supervisord"


def end(home: Home, *, say: Callable[[str], None]) -> bool:
    """End every program of a home that still runs, Postgres last.

    Parameters
    ----------
    home
        Whose programs; each carries its marker.
    say
        Is told, in a sentence, what was ended.

    Returns
    -------
    bool
        Whether there was any.
    """
    # A supervisor that does not answer any more would start again what is ended under it.
    supervisors = [process for process in _marked(home) if _is_supervisor(process)]
    processes.end(supervisors, by=signal.SIGTERM, grace=_SUPERVISOR_GRACE)
    programs = _marked(home)
    processes.end(programs, by=signal.SIGTERM, grace=_GRACE)
    ended = len(supervisors) + len(programs)
    if ended:
        say(f"Ended {ended} program{'s' if ended > 1 else ''} that still ran.")
    cleared = [postmaster.clear(folder, say=say) for folder in placement.data_folders(home.postgres)]
    return ended > 0 or any(cleared)


def _marked(home: Home) -> list[psutil.Process]:
    """Return the programs of a home but for Postgres, which does not take orders to end while clients are connected."""
    found = processes.carrying(MARKER, str(home.folder))
    return [process for process in found if not processes.is_named(process, "postgres")]


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return _SUPERVISOR in process.cmdline()
    except psutil.Error:
        return False
