"""Stops supervised programs, stage by stage."""

import time
from collections.abc import Collection
from datetime import timedelta

from dev.servers import processes
from dev.servers.postmaster import read_pid
from dev.stack.home import Home
from dev.stack.programs import Stage, stage_of
from dev.stack.supervisor import STOPPABLE, STOPPING, Supervisor

_GRACE = timedelta(seconds=45)
_EVERY = timedelta(milliseconds=100)


def stop_programs(supervisor: Supervisor, *, stages: Collection[Stage] = tuple(Stage)) -> None:
    """Stop the programs of some stages, the last stage first; returns when they have ended."""
    for stage in sorted(stages, key=lambda stage: stage.value, reverse=True):
        states = supervisor.states() or {}
        for name, program in states.items():
            if stage_of(name) is stage and program.state in STOPPABLE:
                supervisor.stop(name)
        deadline = time.monotonic() + _GRACE.total_seconds()
        while _any_stopping(supervisor) and time.monotonic() < deadline:
            time.sleep(_EVERY.total_seconds())


def stop_all(home: Home, supervisor: Supervisor) -> None:
    """Stop every program and then the supervisor itself; returns when it has ended."""
    stop_programs(supervisor)
    own = processes.numbered(read_pid(home.supervisor_pid))
    supervisor.shut_down()
    processes.outlast(own, _GRACE)


def _any_stopping(supervisor: Supervisor) -> bool:
    return any(program.state == STOPPING for program in (supervisor.states() or {}).values())
