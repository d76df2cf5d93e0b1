"""Kills of what a run needs, as the kernel kills: without asking. The supervisor starts it again."""

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
    """What is killed, by the name of its program."""

    WORKER = worker_program_name(LOW_PRIORITY)
    VALKEY = VALKEY
    POSTGRES = POSTGRES


class NotRestarted(Exception):
    """What was killed was not started again."""


@dataclass(frozen=True)
class Killer:
    """Kills programs of one stack.

    Parameters
    ----------
    home
        Its folder.
    """

    home: Path

    def kill(self, victim: Victim) -> int:
        """Kill a program and all that it started, and return how many processes that were.

        Postgres's own children end by themselves when their postmaster is gone, as after any such death.
        """
        parent = psutil.Process(self._pid(victim))
        children = parent.children(recursive=True) if victim is Victim.WORKER else []
        doomed = [parent, *children]
        for process in doomed:
            process.kill()
        return len(doomed)

    def wait_until_restarted(self, victim: Victim, killed_at: float) -> None:
        """Wait until a program that was killed at an instant runs again; one that stays down is started by hand.

        Raises
        ------
        NotBack
            If it does not come back.
        """
        while time.monotonic() - killed_at < _RESTART_TIMEOUT.total_seconds():
            found = (self._supervisor().states() or {})[victim.value]
            if found.state == "RUNNING":
                return
            if found.state in ("FATAL", "EXITED"):
                self._supervisor().start(victim.value)
            time.sleep(0.2)
        raise NotRestarted(victim.value)

    def _pid(self, victim: Victim) -> int:
        return (self._supervisor().states() or {})[victim.value].pid

    def _supervisor(self) -> Supervisor:
        found = find_supervisor(homes.find(self.home))
        if found is None:
            raise NotRestarted("the supervisor")
        return found
