"""A Compose project of its own: other names, another port and other secrets than any stack on this host."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.stack.home import REPOSITORY

_LABEL = "com.docker.compose.project"
_TAIL_LINES = 40


class CommandFailed(Exception):
    """A command of the engine ended otherwise than it should."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        end = "\n".join(output.splitlines()[-_TAIL_LINES:])
        super().__init__(f"`{' '.join(command)}` ended with exit code {code}; it said:\n{end}")


@dataclass(frozen=True)
class Project:
    """A project of `docker compose`.

    Parameters
    ----------
    name
        Of the project.
    env_file
        Its settings and secrets.
    environment
        Of the commands; what it sets goes before the file.
    """

    name: str
    env_file: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @property
    def compose_command(self) -> tuple[str, ...]:
        """What every command begins with."""
        return ("docker", "compose", "--project-name", self.name, "--env-file", str(self.env_file))

    @property
    def settings(self) -> dict[str, str]:
        """What its file sets; a later line goes before an earlier one."""
        lines = self.env_file.read_text(encoding="utf-8").splitlines()
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {name: value for name, _, value in pairs}

    def compose(self, *arguments: str, profile: str = "demo") -> str:
        """Run a command of `docker compose`, and return what it wrote to its standard output.

        Raises
        ------
        CommandFailed
            If it fails.
        """
        return self.run((*self.compose_command, "--profile", profile, *arguments))

    def run(self, command: Sequence[str]) -> str:
        """Run any command in the root of the repository, and return what it wrote to its standard output.

        Raises
        ------
        CommandFailed
            If it fails.
        """
        done = self.run_unchecked(command)
        if done.returncode:
            raise CommandFailed(command, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def run_unchecked(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run any command in the root of the repository, and return how it ended."""
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str, output: Path) -> "subprocess.Popen[bytes]":
        """Start a command of `docker compose`, which writes to a file, and return it."""
        with output.open("wb") as file:
            return subprocess.Popen(
                (*self.compose_command, "--profile", "demo", *arguments),
                cwd=REPOSITORY,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def query(self, database: str, statement: str) -> list[list[str]]:
        """Return the rows of a statement, as texts."""
        psql = ("psql", "--username=postgres", "--no-align", "--tuples-only", "--field-separator=\t", "--quiet")
        out = self.compose("exec", "-T", "postgres", *psql, "--dbname", database, "--command", statement)
        return [line.split("\t") for line in out.splitlines() if line]

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's running containers."""
        return self.compose("ps", "--quiet", "--status=running", service).split()

    def inspect(self, kind: str, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return what the engine knows of a container or an image."""
        return json.loads(self.run(("docker", kind, "inspect", name)))[0]

    def leftovers(self) -> list[str]:
        """Return what is there of the project: containers, volumes and networks."""
        of_project = ("--quiet", "--filter", f"label={_LABEL}={self.name}")
        listed = {"container": ("ls", "--all"), "volume": ("ls",), "network": ("ls",)}
        return [
            f"{kind} {name}"
            for kind, arguments in listed.items()
            for name in self.run(("docker", kind, *arguments, *of_project)).split()
        ]
