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
from dev.stack.home import HOME_VARIABLE
from dev.stack.plan import StackOptions
from dev.stack.stack import Stack
from dev.stack.up import StackScope, up

CALLER_ENVIRONMENT: Mapping[str, str] = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@dataclass
class Servers:
    """Starts and stops the servers of one home, and records the messages."""

    home: Path
    messages: list[str] = field(default_factory=list)

    def start(
        self, caller_environment: Mapping[str, str] = CALLER_ENVIRONMENT, privileges: Privileges | None = None
    ) -> Stack:
        self.messages.clear()
        options = StackOptions(postgres_settings=THROWAWAY_SETTINGS, privileges=privileges, ui_port=None)
        return up(
            self.home,
            scope=StackScope.SERVERS,
            caller_environment=caller_environment,
            options=options,
            say=self.messages.append,
        )

    def stop(self) -> None:
        self.messages.clear()
        down(self.home, say=self.messages.append)

    def create_leftover(self, folder: str) -> Path:
        """Create a folder that an earlier start of the home would have left."""
        (self.home / folder).mkdir(parents=True)
        (self.home / "lock").touch()
        return self.home / folder

    def has_message(self, words: str) -> bool:
        return any(words in sentence for sentence in self.messages)

    def processes(self) -> list[psutil.Process]:
        """Return the running processes of the home, including the children of Postgres."""
        marked = processes.with_environment(HOME_VARIABLE, str(self.home))
        return list({*marked, *processes.with_working_directory(self.home / "postgres" / "data")})
