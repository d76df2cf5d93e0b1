"""Stops a Postgres that an earlier start left running, and removes a stale pid file."""

import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil

from dev.servers import processes

FAST_SHUTDOWN = signal.SIGINT
_STOP_GRACE = timedelta(seconds=30)


def release_data_folder(data: Path, *, say: Callable[[str], None]) -> bool:
    """Stop any Postgres of a data folder, so that a new one can be started.

    Its processes are found by their working directory: the postmaster changes to the data folder first, and its
    children inherit that. A pid file alone is not reliable, since its process may be dead and the id reused.

    Parameters
    ----------
    data
        The data folder; it may not exist.
    say
        Called with a sentence about what was stopped or removed.

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
    """Return the process id in a pid file; None if the file does not exist or cannot be read."""
    try:
        return int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
