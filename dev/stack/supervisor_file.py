"""Renders the supervisor's configuration."""

import shlex
from collections.abc import Sequence

from dev.servers.ports import LOOPBACK
from dev.stack.home import Home
from dev.stack.programs import Program

USER = "sluice"
_START_SECONDS = 3
_START_RETRIES = 10
_LOG_SIZE = "10MB"
_LOGS_KEPT = 2


def render(home: Home, programs: Sequence[Program], *, port: int, password: str, uid: int) -> str:
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
    control = {"port": f"{LOOPBACK}:{port}", "username": USER, "password": password}
    sections = {
        "supervisord": {
            "logfile": _path(home.log("supervisord")),
            "logfile_maxbytes": _LOG_SIZE,
            "logfile_backups": str(_LOGS_KEPT),
            "pidfile": _path(home.supervisor_pid),
            "childlogdir": _path(home.logs),
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
            "username": USER,
            "password": password,
        },
        **{f"program:{program.name}": _program(home, program) for program in programs},
    }
    return "\n".join(
        "\n".join((f"[{name}]", *(f"{option}={value}" for option, value in options.items()), ""))
        for name, options in sections.items()
    )


def _program(home: Home, program: Program) -> dict[str, str]:
    return {
        "command": _escaped(shlex.join(program.command)),
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
        "stdout_logfile": _path(home.log(program.name)),
        "stdout_logfile_maxbytes": _LOG_SIZE,
        "stdout_logfile_backups": str(_LOGS_KEPT),
    }


def _path(path: object) -> str:
    return _escaped(str(path))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
