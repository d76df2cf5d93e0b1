"""The servers of one home, started and stopped by a test."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dev.servers import processes
from dev.servers.postgres import THROWAWAY_SETTINGS
from dev.servers.privileges import Privileges
from dev.stack.down import down
from dev.stack.home import MARKER
from dev.stack.plan import Wishes
from dev.stack.stack import Stack
from dev.stack.up import Extent, up

CALLER: Mapping[str, str] = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@dataclass
class Servers:
    """Starts and stops the servers of one home, and keeps what was said."""

    home: Path
    said: list[str] = field(default_factory=list)

    def start(self, caller: Mapping[str, str] = CALLER, privileges: Privileges | None = None) -> Stack:
        self.said.clear()
        wishes = Wishes(settings=THROWAWAY_SETTINGS, privileges=privileges, ui=None)
        return up(self.home, extent=Extent.SERVERS, caller=caller, wishes=wishes, say=self.said.append)

    def stop(self) -> None:
        self.said.clear()
        down(self.home, say=self.said.append)

    def leave(self, folder: str) -> Path:
        """Make a folder as an earlier start of the home would have left it."""
        (self.home / folder).mkdir(parents=True)
        (self.home / "lock").touch()
        return self.home / folder

    def heard(self, words: str) -> bool:
        return any(words in sentence for sentence in self.said)

    def processes(self) -> list[psutil.Process]:
        """Return whatever of the home runs, Postgres's children included."""
        marked = processes.carrying(MARKER, str(self.home))
        return list({*marked, *processes.working_in(self.home / "postgres" / "data")})
