"""The supervisor: how it is started, and what it is asked over its control port."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, cast
from xmlrpc.client import Error, Fault, ServerProxy, Transport

from dev.servers import private_files
from dev.servers.binaries import interpreter
from dev.servers.errors import StepFailed
from dev.servers.ports import LOOPBACK
from dev.stack import supervisor
from dev.stack.home import Home
from dev.stack.programs import Program

CONTROL_USER = "sluice"
_START_SECONDS = 3
_START_RETRIES = 10
_MAX_LOG_SIZE = "10MB"
_LOG_BACKUPS = 2


def render_configuration(home: Home, programs: Sequence[Program], *, port: int, password: str, uid: int) -> str:
    """Return the configuration file.

    Parameters
    ----------
    home
        Where logs and the pid file go.
    programs
        What is supervised; each is started by request only, and from then on kept alive.
    port, password
        Of the control port.
    uid
        Whom the supervisor runs as: the caller.
    """
    control = {"port": f"{LOOPBACK}:{port}", "username": CONTROL_USER, "password": password}
    sections = {
        "supervisord": {
            "logfile": _path(home.log_file("supervisord")),
            "logfile_maxbytes": _MAX_LOG_SIZE,
            "logfile_backups": str(_LOG_BACKUPS),
            "pidfile": _path(home.supervisor_pid_file),
            "childlogdir": _path(home.logs_folder),
            # Root must say that it is meant.
            **({"user": str(uid)} if uid == 0 else {}),
            "umask": "077",
        },
        "inet_http_server": control,
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "supervisorctl": {
            "serverurl": f"http://{LOOPBACK}:{port}",
            "username": CONTROL_USER,
            "password": password,
        },
        **{f"program:{program.name}": _program_section(home, program) for program in programs},
    }
    return "\n".join(
        "\n".join((f"[{name}]", *(f"{option}={value}" for option, value in options.items()), ""))
        for name, options in sections.items()
    )


def _program_section(home: Home, program: Program) -> dict[str, str]:
    return {
        "command": _escape(shlex.join(program.command)),
        "directory": _path(program.directory),
        **({"user": program.user} if program.user else {}),
        "priority": str(program.stage.value),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(_START_SECONDS),
        "startretries": str(_START_RETRIES),
        "stopsignal": program.stop_signal,
        "stopwaitsecs": f"{program.stop_grace.total_seconds():.0f}",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": _path(home.log_file(program.name)),
        "stdout_logfile_maxbytes": _MAX_LOG_SIZE,
        "stdout_logfile_backups": str(_LOG_BACKUPS),
    }


def _path(path: object) -> str:
    return _escape(str(path))


def _escape(text: str) -> str:
    return text.replace("%", "%%")


STOPPING = "STOPPING"
ALIVE_STATES = frozenset({"STARTING", "RUNNING"})
STOPPABLE_STATES = frozenset({"STARTING", "RUNNING", "BACKOFF"})
DEAD_STATES = frozenset({"BACKOFF", "EXITED", "FATAL", "UNKNOWN"})
_TIMEOUT_SECONDS = 10
_NO_WAIT = False


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor knows of a program.

    Parameters
    ----------
    name
        Of the program.
    state
        Such as `RUNNING` or `BACKOFF`.
    pid
        Its process id, 0 if it does not run.
    uptime
        Seconds since it started, 0 if it does not run.
    """

    name: str
    state: str
    pid: int
    uptime: int


class Supervisor:
    """The supervisor of one home.

    Parameters
    ----------
    port, password
        Of its control port.
    """

    def __init__(self, port: int, password: str) -> None:
        self._url = f"http://{supervisor.CONTROL_USER}:{password}@{LOOPBACK}:{port}/RPC2"

    def states(self) -> dict[str, ProgramState] | None:
        """Return every program's state by name, None if no supervisor of this home answers."""
        try:
            found = cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))
        except (OSError, HTTPException, Error):
            return None
        return {program["name"]: _parse_state(program) for program in found}

    def start(self, name: str) -> None:
        """Start a program, without waiting for it; one that runs already is left alone."""
        self._change_state("startProcess", name)

    def stop(self, name: str) -> None:
        """Ask a program to end, without waiting for it; one that does not run is left alone."""
        self._change_state("stopProcess", name)

    def shut_down(self) -> None:
        """Ask the supervisor to stop whatever still runs, and then itself."""
        self._call("shutdown")

    def _change_state(self, method: str, name: str) -> None:
        try:
            self._call(method, name, _NO_WAIT)
        except Fault as fault:
            if not fault.faultString.startswith(("ALREADY_STARTED", "NOT_RUNNING")):
                raise

    def _call(self, method: str, *arguments: object) -> object:
        with ServerProxy(self._url, transport=_TimeoutTransport()) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def launch(configuration: Path, *, environment: Mapping[str, str], output: Path) -> None:
    """Start the supervisor in the background, in a session of its own.

    Parameters
    ----------
    configuration
        Its configuration file.
    environment
        Passed on to every program.
    output
        File for what it says before it is in the background.

    Raises
    ------
    StepFailed
        If it refuses its configuration or its port.
    """
    command = (str(interpreter()), "-P", "-m", "supervisor.supervisord", "--configuration", str(configuration))
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        done = subprocess.run(
            command, env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if done.returncode != 0:
        raise StepFailed("supervisord", code=done.returncode, output=private_files.tail(output, 20))


class _TimeoutTransport(Transport):
    def make_connection(self, host: Any) -> HTTPConnection:  # noqa: ANN401 - as in the standard library
        connection = super().make_connection(host)
        connection.timeout = _TIMEOUT_SECONDS
        return connection


def _parse_state(program: Mapping[str, Any]) -> ProgramState:
    runs = program["pid"] != 0
    return ProgramState(
        program["name"], program["statename"], program["pid"], program["now"] - program["start"] if runs else 0
    )
