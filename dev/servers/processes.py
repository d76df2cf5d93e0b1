"""Finds processes by environment, working directory or id, and ends them."""

import signal
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import psutil

_POLL_SECONDS = 0.05


def with_environment(variable: str, value: str) -> list[psutil.Process]:
    """Return the processes, except this one, that were started with this value of an environment variable."""
    return [process for process in _other_processes() if _environment(process).get(variable) == value]


def with_working_directory(folder: Path) -> list[psutil.Process]:
    """Return the processes, except this one, whose working directory is `folder`, which may be removed by now."""
    names = {str(folder), f"{folder} (deleted)"}
    return [process for process in _other_processes() if _working_directory(process) in names]


def with_pid(pid: int | None) -> list[psutil.Process]:
    """Return the process with this id, or an empty list."""
    try:
        return [] if pid is None else [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []


def is_named(process: psutil.Process, name: str) -> bool:
    """Return whether a process runs the program of this name."""
    try:
        return process.name() == name
    except psutil.Error:
        return False


def terminate(
    processes: Iterable[psutil.Process], *, stop_signal: signal.Signals, grace: timedelta
) -> Sequence[psutil.Process]:
    """Ask processes to end, and kill those that still run after `grace`.

    Parameters
    ----------
    processes
        The processes to end.
    stop_signal
        The signal that asks them to end.
    grace
        How long to wait for them.

    Returns
    -------
    Sequence[psutil.Process]
        Those that were killed.
    """
    targets = list(processes)
    for process in targets:
        _send_signal(process, stop_signal)
    survivors = wait_for_exit(targets, grace)
    for process in survivors:
        _send_signal(process, signal.SIGKILL)
    wait_for_exit(survivors, grace)
    return survivors


def wait_for_exit(processes: Iterable[psutil.Process], grace: timedelta) -> list[psutil.Process]:
    """Wait for processes to end, and return those that still run after `grace`.

    A zombie counts as ended: its parent may never collect its exit code, as in a container whose first process is no
    init.
    """
    deadline = time.monotonic() + grace.total_seconds()
    alive = [process for process in processes if _is_running(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        alive = [process for process in alive if _is_running(process)]
    return alive


def _other_processes() -> list[psutil.Process]:
    own = psutil.Process().pid
    return [process for process in psutil.process_iter() if process.pid != own]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _working_directory(process: psutil.Process) -> str | None:
    try:
        return process.cwd()
    except (psutil.Error, OSError):
        return None


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send_signal(process: psutil.Process, signal_number: signal.Signals) -> None:
    try:
        process.send_signal(signal_number)
    except psutil.NoSuchProcess:
        return
