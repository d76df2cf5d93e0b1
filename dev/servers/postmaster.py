"""Ends a Postgres that an earlier start left running, and removes the pid file that a dead one left."""

import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil

from dev.servers import processes

FAST_SHUTDOWN = signal.SIGINT
_STOP_GRACE = timedelta(seconds=30)


def release_data_folder(data: Path, *, say: Callable[[str], None]) -> bool:
    """Make a data folder free to be started on.

    Whoever works in the folder is Postgres: the postmaster goes there first thing, and its children inherit it.
    A pid file alone says little, since its process may be long dead and its number somebody else's.

    Parameters
    ----------
    data
        The data folder; it may not exist.
    say
        Is told, in a sentence, what was ended or removed.

    Returns
    -------
    bool
        Whether a Postgres was running.
    """
    pid_file = data / "postmaster.pid"
    pid = read_pid(pid_file)
    running = [process for process in processes.with_working_directory(data) if processes.is_named(process, "postgres")]
    if running:
        postmaster = [process for process in running if process.pid == pid]
        processes.terminate(postmaster, stop_signal=FAST_SHUTDOWN, grace=_STOP_GRACE)
        processes.terminate(
            [process for process in running if process.pid != pid], stop_signal=signal.SIGTERM, grace=_STOP_GRACE
        )
        say(f"Stopped a Postgres that still ran (process {pid}).")
    if pid_file.exists():
        pid_file.unlink()
        state = "is not that Postgres" if pid is not None and psutil.pid_exists(pid) else "no longer runs"
        say(f"Removed a stale {pid_file}: process {pid} {state}.")
    return bool(running)


def read_pid(pid_file: Path) -> int | None:
    """Return the process id in a pid file, None if there is none or it cannot be read."""
    try:
        return int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
