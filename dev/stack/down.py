"""Stopping a stack; its data stays."""

import signal
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import psutil

from dev.servers import placement, postmaster, processes
from dev.servers.postmaster import read_pid
from dev.stack import home as homes
from dev.stack import saved_state
from dev.stack.home import DEFAULT_HOME, HOME_VARIABLE, Home
from dev.stack.lock import hold_lock
from dev.stack.programs import Stage, stage_of
from dev.stack.supervisor import STOPPABLE_STATES, STOPPING, Supervisor

_STOP_TIMEOUT = timedelta(seconds=45)
_POLL_INTERVAL = timedelta(milliseconds=100)
_ORPHAN_GRACE = timedelta(seconds=5)
_SUPERVISOR_GRACE = timedelta(seconds=30)
_SUPERVISOR_MODULE = "supervisor.supervisord"


def down(folder: Path = DEFAULT_HOME, *, say: Callable[[str], None] = print) -> None:
    """Stop every program of a home, Postgres last, whether or not its supervisor still runs.

    Parameters
    ----------
    folder
        Home of the stack; it may have been removed.
    say
        Called with each message for the user.

    Raises
    ------
    HomeRefused
        If the home belongs to another user.
    """
    home = homes.find(folder)
    with hold_lock(home, say=say) if home.folder.exists() else nullcontext():
        supervisor = find_supervisor(home)
        supervised = supervisor is not None and supervisor.states() is not None
        if supervisor is not None and supervised:
            stop_all(home, supervisor)
        ended = end_orphans(home, say=say)
        say(f"Stopped; data stays in {home.folder}." if supervised or ended else f"Nothing runs in {home.folder}.")


def find_supervisor(home: Home) -> Supervisor | None:
    """Return the supervisor of a home, whether or not it runs; None if the home never had one."""
    port = saved_state.load_ports(home.ports_file).get("supervisor")
    if port is None or not home.secrets_file.exists():
        return None
    return Supervisor(port, saved_state.load_secrets(home.secrets_file).supervisor_password)


def stop_programs(supervisor: Supervisor, *, stages: Collection[Stage] = tuple(Stage)) -> None:
    """Stop the programs of some stages, the last stage first, and wait for their end, at most 45 seconds a stage."""
    for stage in sorted(stages, key=lambda stage: stage.value, reverse=True):
        states = supervisor.states() or {}
        for name, program in states.items():
            if stage_of(name) is stage and program.state in STOPPABLE_STATES:
                supervisor.stop(name)
        deadline = time.monotonic() + _STOP_TIMEOUT.total_seconds()
        while _any_stopping(supervisor) and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL.total_seconds())


def stop_all(home: Home, supervisor: Supervisor) -> None:
    """Stop every program and then the supervisor, and wait for its end."""
    stop_programs(supervisor)
    process = processes.with_pid(read_pid(home.supervisor_pid_file))
    supervisor.shut_down()
    processes.wait_for_exit(process, _STOP_TIMEOUT)


def end_orphans(home: Home, *, say: Callable[[str], None]) -> bool:
    """End every program of a home that still runs, Postgres last.

    Parameters
    ----------
    home
        Home of the programs, each of which has its path in the environment.
    say
        Called with each message for the user.

    Returns
    -------
    bool
        Whether any program was ended.
    """
    # First the supervisor, even if it does not respond any more: it would restart programs that end.
    supervisors = [process for process in _leftover_programs(home) if _is_supervisor(process)]
    processes.terminate(supervisors, stop_signal=signal.SIGTERM, grace=_SUPERVISOR_GRACE)
    programs = _leftover_programs(home)
    processes.terminate(programs, stop_signal=signal.SIGTERM, grace=_ORPHAN_GRACE)
    ended = len(supervisors) + len(programs)
    if ended:
        say(f"Ended {ended} program{'s' if ended > 1 else ''} that still ran.")
    released = [
        postmaster.release_data_folder(folder, say=say) for folder in placement.data_folders(home.postgres_paths)
    ]
    return ended > 0 or any(released)


def _any_stopping(supervisor: Supervisor) -> bool:
    return any(program.state == STOPPING for program in (supervisor.states() or {}).values())


def _leftover_programs(home: Home) -> list[psutil.Process]:
    """Return the programs of a home except Postgres, which does not stop on SIGTERM while clients are connected."""
    leftovers = processes.with_environment(HOME_VARIABLE, str(home.folder))
    return [process for process in leftovers if not processes.is_named(process, "postgres")]


def _is_supervisor(process: psutil.Process) -> bool:
    try:
        return _SUPERVISOR_MODULE in process.cmdline()
    except psutil.Error:
        return False
