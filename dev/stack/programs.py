"""The programs of a stack, which its supervisor runs: servers, and Airflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path

from deploy import workers
from dev.servers import bank
from dev.servers.bank import Sandbox
from dev.servers.binaries import interpreter
from dev.servers.ports import LOOPBACK
from dev.servers.postgres import Cluster, server_arguments
from dev.stack.home import HOME_VARIABLE, REPOSITORY, Home
from etl.declare.queue import Queue, WorkerGroup

POSTGRES = "postgres"
VALKEY = "valkey"
BANK = "bank"
MAIL = "mail"
API_SERVER = "api-server"
TASK_LOGS = "task-logs"
DAG_PROCESSOR = "dag-processor"
WATCHER = "watcher"


class Stage(Enum):
    """Stage of a start: programs start stage by stage, and stop in the reverse order."""

    DATABASE = 1
    SERVERS = 2
    AIRFLOW = 3


def worker_program_name(group: WorkerGroup) -> str:
    """Return the name of the program that runs a group's workers."""
    return f"worker-{group.name.replace('_', '-')}"


def worker_name(group: WorkerGroup, *, tag: str) -> str:
    """Return the part of a worker's name before `@`; the `tag` distinguishes the workers of stacks on one broker."""
    return f"{group.name}-{tag}"


def worker_arguments(group: WorkerGroup, queues: Sequence[Queue], *, tag: str) -> tuple[str, ...]:
    """Return the arguments of `airflow` that run a group's workers.

    Parameters
    ----------
    group
        Group of the workers.
    queues
        All declared queues.
    tag
        Tag of the home.
    """
    name = worker_name(group, tag=tag)
    # Airflow would serve logs on every interface of the machine; the stack has its own log server.
    return (*workers.arguments(group, queues, name=name), "--skip-serve-logs")


def stage_of(name: str) -> Stage:
    """Return the stage of the program of this name."""
    return {POSTGRES: Stage.DATABASE, VALKEY: Stage.SERVERS, BANK: Stage.SERVERS, MAIL: Stage.SERVERS}.get(
        name, Stage.AIRFLOW
    )


@dataclass(frozen=True)
class Program:
    """One supervised program.

    Parameters
    ----------
    name
        Name of the program and of its log.
    command
        Command, run without a shell.
    directory
        Working directory.
    stop_signal
        Signal that asks it to stop.
    stop_grace
        Time that it has to stop; then it is killed, with all its children.
    user
        Account that it runs under; None for the caller's.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    stop_signal: str = "TERM"
    stop_grace: timedelta = timedelta(seconds=8)
    user: str | None = None

    @property
    def stage(self) -> Stage:
        """The stage in which it starts."""
        return stage_of(self.name)


def postgres(home: Home, cluster: Cluster, *, port: int, settings: Mapping[str, str]) -> Program:
    """Return the embedded Postgres; INT is its fast shutdown, which rolls back open transactions."""
    arguments = server_arguments(cluster.data, port=port, settings=settings)
    return Program(
        POSTGRES,
        (*_empty_environment(home), *cluster.command("postgres", *arguments)),
        Path("/"),
        stop_signal="INT",
        stop_grace=timedelta(seconds=30),
        user=cluster.owner.name if cluster.owner else None,
    )


def valkey(home: Home, server: Path) -> Program:
    """Return the embedded Valkey."""
    command = (*_empty_environment(home), str(server), str(home.valkey_configuration))
    return Program(VALKEY, command, home.valkey_folder)


def sandbox_bank(sandbox: Sandbox, *, port: int) -> Program:
    """Return the sandbox bank."""
    return Program(BANK, bank.command(sandbox, port=port), REPOSITORY)


def mail_server(home: Home, *, port: int) -> Program:
    """Return the mail server that stores every mail instead of delivering it."""
    command = (str(interpreter()), "-m", "dev.mail", "--port", str(port), "--folder", str(home.mails_folder))
    return Program(MAIL, command, REPOSITORY)


def airflow(home: Home, groups: Sequence[WorkerGroup], queues: Sequence[Queue], *, log_port: int) -> list[Program]:
    """Return Airflow's own programs, and one worker for each group.

    Parameters
    ----------
    home
        Home of the stack.
    groups, queues
        All declared worker groups and queues.
    log_port
        Port of the server of task logs.
    """
    commands = {
        API_SERVER: ("api-server",),
        "scheduler": ("scheduler", "--skip-serve-logs"),
        DAG_PROCESSOR: ("dag-processor",),
        **{worker_program_name(group): worker_arguments(group, queues, tag=home.tag) for group in groups},
    }
    triggerer = _python_program(home, "triggerer", "airflow", "triggerer", "--skip-serve-logs")
    log_server = ("uvicorn", "--factory", "airflow.utils.serve_logs.log_server:get_app", "--host", LOOPBACK)
    options = ("--port", str(log_port), "--log-level", "warning", "--no-access-log")
    return [
        *(_python_program(home, name, "airflow", *arguments) for name, arguments in commands.items()),
        # It stops its child at once, but detects the end of the child only ten seconds later.
        replace(triggerer, stop_grace=timedelta(seconds=3)),
        _python_program(home, TASK_LOGS, *log_server, *options),
    ]


def watcher(home: Home) -> Program:
    """Return the program that reloads edited steps and plugins."""
    return Program(WATCHER, (str(interpreter()), "-m", "dev.stack", "watch", "--home", str(home.folder)), REPOSITORY)


def _python_program(home: Home, name: str, module: str, *arguments: str) -> Program:
    # -P: do not import modules from the working directory.
    return Program(name, (str(interpreter()), "-P", "-m", module, *arguments), home.airflow_home)


def _empty_environment(home: Home) -> tuple[str, ...]:
    """Return the start of a command that clears the environment, except for the marker of the home."""
    return ("env", "-i", f"{HOME_VARIABLE}={home.folder}", "LC_ALL=C")
