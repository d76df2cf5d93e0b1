"""Kills programs that a run needs, by SIGKILL, as the kernel does if memory runs out; the supervisor restarts them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path

import psutil

from dev.stack import home as homes
from dev.stack.down import find_supervisor
from dev.stack.programs import POSTGRES, VALKEY, worker_program_name
from dev.stack.supervisor import Supervisor
from etl.catalog.queues import LOW_PRIORITY

_RESTART_TIMEOUT = timedelta(seconds=90)


class Victim(Enum):
    """Programs that are killed; the value is the program's name in the supervisor."""

    WORKER = worker_program_name(LOW_PRIORITY)
    VALKEY = VALKEY
    POSTGRES = POSTGRES


class NotRestarted(Exception):
    """A killed program did not run again in time."""


@dataclass(frozen=True)
class Killer:
    """Kills programs of a stack.

    Parameters
    ----------
    home
        Folder of the stack.
    """

    home: Path

    def kill(self, victim: Victim) -> int:
        """Kill a program and, for a worker, all its child processes; return the number of killed processes.

        Postgres's child processes end by themselves when their postmaster is gone, as after any kill.
        """
        parent = psutil.Process(self._pid(victim))
        children = parent.children(recursive=True) if victim is Victim.WORKER else []
        processes = [parent, *children]
        for process in processes:
            process.kill()
        return len(processes)

    def wait_until_restarted(self, victim: Victim, killed_at: float) -> None:
        """Wait until a killed program runs again; start it if the supervisor has given up.

        Raises
        ------
        NotRestarted
            If it does not run again in time.
        """
        while time.monotonic() - killed_at < _RESTART_TIMEOUT.total_seconds():
            program = (self._supervisor().states() or {})[victim.value]
            if program.state == "RUNNING":
                return
            if program.state in ("FATAL", "EXITED"):
                self._supervisor().start(victim.value)
            time.sleep(0.2)
        raise NotRestarted(victim.value)

    def _pid(self, victim: Victim) -> int:
        return (self._supervisor().states() or {})[victim.value].pid

    def _supervisor(self) -> Supervisor:
        supervisor = find_supervisor(homes.find(self.home))
        if supervisor is None:
            raise NotRestarted("the supervisor")
        return supervisor
