"""A Compose project with its own names, port and secrets, separate from any other stack on this host."""

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
    """A command failed."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        end = "\n".join(output.splitlines()[-_TAIL_LINES:])
        super().__init__(f"`{' '.join(command)}` ended with exit code {code}; the end of its output:\n{end}")


@dataclass(frozen=True)
class Project:
    """A project of `docker compose`.

    Parameters
    ----------
    name
        Name of the project.
    env_file
        File of its settings and secrets.
    environment
        Environment of the commands; it takes precedence over the file.
    """

    name: str
    env_file: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @property
    def compose_command(self) -> tuple[str, ...]:
        """The beginning of every command."""
        return ("docker", "compose", "--project-name", self.name, "--env-file", str(self.env_file))

    @property
    def settings(self) -> dict[str, str]:
        """The settings in its file; a later line overrides an earlier one."""
        lines = self.env_file.read_text(encoding="utf-8").splitlines()
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {name: value for name, _, value in pairs}

    def compose(self, *arguments: str, profile: str = "demo") -> str:
        """Run a command of `docker compose`, and return its standard output.

        Raises
        ------
        CommandFailed
            If it fails.
        """
        return self.run((*self.compose_command, "--profile", profile, *arguments))

    def run(self, command: Sequence[str]) -> str:
        """Run any command in the root of the repository, and return its standard output.

        Raises
        ------
        CommandFailed
            If it fails.
        """
        result = self.run_unchecked(command)
        if result.returncode:
            raise CommandFailed(command, result.returncode, result.stdout + result.stderr)
        return result.stdout

    def run_unchecked(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run any command in the root of the repository, and return its result, also if it fails."""
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
        """Start a command of `docker compose` with its output in a file, and return its process."""
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
        """Run a statement with psql, and return its rows as text."""
        psql = ("psql", "--username=postgres", "--no-align", "--tuples-only", "--field-separator=\t", "--quiet")
        output = self.compose("exec", "-T", "postgres", *psql, "--dbname", database, "--command", statement)
        return [line.split("\t") for line in output.splitlines() if line]

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's running containers."""
        return self.compose("ps", "--quiet", "--status=running", service).split()

    def inspect(self, kind: str, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return the engine's description of a container or an image."""
        return json.loads(self.run(("docker", kind, "inspect", name)))[0]

    def leftovers(self) -> list[str]:
        """Return the containers, volumes and networks of the project, such as `volume NAME`."""
        options = ("--quiet", "--filter", f"label={_LABEL}={self.name}")
        commands = {"container": ("ls", "--all"), "volume": ("ls",), "network": ("ls",)}
        return [
            f"{kind} {name}"
            for kind, arguments in commands.items()
            for name in self.run(("docker", kind, *arguments, *options)).split()
        ]
