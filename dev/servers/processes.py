"""Finds processes by what they carry, and ends them."""

import signal
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import psutil

_POLL_SECONDS = 0.05


def with_environment(variable: str, value: str) -> list[psutil.Process]:
    """Return the processes, this one excepted, that were started with a variable in their environment."""
    return [process for process in _other_processes() if _environment(process).get(variable) == value]


def with_working_directory(folder: Path) -> list[psutil.Process]:
    """Return the processes, this one excepted, whose working directory is a folder, or was until it was removed."""
    names = {str(folder), f"{folder} (deleted)"}
    return [process for process in _other_processes() if _working_directory(process) in names]


def with_pid(pid: int | None) -> list[psutil.Process]:
    """Return the process of that id, or none."""
    try:
        return [] if pid is None else [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return []


def is_named(process: psutil.Process, name: str) -> bool:
    """Tell whether a process runs the program of that name."""
    try:
        return process.name() == name
    except psutil.Error:
        return False


def terminate(
    processes: Iterable[psutil.Process], *, stop_signal: signal.Signals, grace: timedelta
) -> Sequence[psutil.Process]:
    """Ask processes to end, and kill those that have not after a while.

    Parameters
    ----------
    processes
        Whom to end.
    stop_signal
        The signal that asks.
    grace
        How long they may take.

    Returns
    -------
    Sequence[psutil.Process]
        Those that had to be killed.
    """
    asked = list(processes)
    for process in asked:
        _send_signal(process, stop_signal)
    stubborn = wait_for_exit(asked, grace)
    for process in stubborn:
        _send_signal(process, signal.SIGKILL)
    wait_for_exit(stubborn, grace)
    return stubborn


def wait_for_exit(processes: Iterable[psutil.Process], grace: timedelta) -> list[psutil.Process]:
    """Wait for processes to end, and return those that still run after a while.

    A process that has ended counts as such even if its parent never asks for its exit code,
    as happens where the first process of a container is no init.
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
