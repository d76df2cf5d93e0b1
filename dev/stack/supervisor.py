"""The supervisor of a stack's programs: its configuration, its start, and requests to its control port."""

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
from dev.stack.home import Home
from dev.stack.programs import Program

CONTROL_USER = "sluice"
STOPPING = "STOPPING"
ALIVE_STATES = frozenset({"STARTING", "RUNNING"})
STOPPABLE_STATES = frozenset({"STARTING", "RUNNING", "BACKOFF"})
DEAD_STATES = frozenset({"BACKOFF", "EXITED", "FATAL", "UNKNOWN"})

_START_SECONDS = 3
_START_RETRIES = 10
_MAX_LOG_SIZE = "10MB"
_LOG_BACKUPS = 2
_TIMEOUT_SECONDS = 10
_NO_WAIT = False


@dataclass(frozen=True)
class ProgramState:
    """State of a program, as the supervisor reports it.

    Parameters
    ----------
    name
        Name of the program.
    state
        Such as `RUNNING` or `BACKOFF`.
    pid
        Its process id; 0 if it does not run.
    uptime
        Seconds since its start; 0 if it does not run.
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
        The control port, and its password.
    """

    def __init__(self, port: int, password: str) -> None:
        self._url = f"http://{CONTROL_USER}:{password}@{LOOPBACK}:{port}/RPC2"

    def states(self) -> dict[str, ProgramState] | None:
        """Return the state of every program by name; None if no supervisor of this home responds."""
        try:
            programs = cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))
        except (OSError, HTTPException, Error):
            return None
        return {program["name"]: _parse_state(program) for program in programs}

    def start(self, name: str) -> None:
        """Start a program unless it runs, without waiting for it."""
        self._change_state("startProcess", name, _NO_WAIT)

    def stop(self, name: str) -> None:
        """Stop a program if it runs, without waiting for its end."""
        self._change_state("stopProcess", name, _NO_WAIT)

    def signal(self, name: str, signal: str) -> None:
        """Send a signal, such as `TERM`, to a program if it runs; it is started again if it ends."""
        self._change_state("signalProcess", name, signal)

    def shut_down(self) -> None:
        """Request the supervisor to stop all programs, and then itself."""
        self._call("shutdown")

    def _change_state(self, method: str, name: str, argument: object) -> None:
        try:
            self._call(method, name, argument)
        except Fault as fault:
            if not fault.faultString.startswith(("ALREADY_STARTED", "NOT_RUNNING")):
                raise

    def _call(self, method: str, *arguments: object) -> object:
        with ServerProxy(self._url, transport=_TimeoutTransport()) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def render_configuration(home: Home, programs: Sequence[Program], *, port: int, password: str, uid: int) -> str:
    """Return the configuration file.

    Parameters
    ----------
    home
        Home of the logs and the pid file.
    programs
        Programs to supervise; each is started on request only, and restarted if it ends.
    port, password
        The control port, and its password.
    uid
        User id of the supervisor: the caller's.
    """
    control = {"port": f"{LOOPBACK}:{port}", "username": CONTROL_USER, "password": password}
    sections = {
        "supervisord": {
            "logfile": _path(home.log_file("supervisord")),
            "logfile_maxbytes": _MAX_LOG_SIZE,
            "logfile_backups": str(_LOG_BACKUPS),
            "pidfile": _path(home.supervisor_pid_file),
            "childlogdir": _path(home.logs_folder),
            # As root, supervisord logs a critical error unless the user is set explicitly.
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


def has_program(configuration: str, program: Program) -> bool:
    """Return whether a configuration file runs a program with the same command."""
    return f"\n[program:{program.name}]\ncommand={_escape(shlex.join(program.command))}\n" in configuration


def launch(configuration: Path, *, environment: Mapping[str, str], output: Path) -> None:
    """Start the supervisor in the background, in a session of its own.

    Parameters
    ----------
    configuration
        Configuration file.
    environment
        Environment of the supervisor and of every program.
    output
        File for the output before it runs in the background.

    Raises
    ------
    StepFailed
        If the configuration is invalid, or the control port is taken.
    """
    command = (str(interpreter()), "-P", "-m", "supervisor.supervisord", "--configuration", str(configuration))
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        result = subprocess.run(
            command, env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if result.returncode != 0:
        raise StepFailed("supervisord", code=result.returncode, output=private_files.tail(output, 20))


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


class _TimeoutTransport(Transport):
    def make_connection(self, host: Any) -> HTTPConnection:  # noqa: ANN401 - as in the standard library
        connection = super().make_connection(host)
        connection.timeout = _TIMEOUT_SECONDS
        return connection


def _parse_state(program: Mapping[str, Any]) -> ProgramState:
    uptime = program["now"] - program["start"] if program["pid"] else 0
    return ProgramState(program["name"], program["statename"], program["pid"], uptime)
