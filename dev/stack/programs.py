"""The programs of a stack: what is supervised, in the order in which it starts."""

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


class Stage(Enum):
    """Programs start stage by stage, and stop in the opposite order."""

    DATABASE = 1
    SERVERS = 2
    AIRFLOW = 3


def worker_program_name(group: WorkerGroup) -> str:
    """Return the name of the program that runs a group's workers."""
    return f"worker-{group.name.replace('_', '-')}"


def worker_name(group: WorkerGroup, *, tag: str) -> str:
    """Return the part of a worker's name before `@`; `tag` keeps the workers of two stacks apart on one broker."""
    return f"{group.name}-{tag}"


def worker_arguments(group: WorkerGroup, queues: Sequence[Queue], *, tag: str) -> tuple[str, ...]:
    """Return the arguments of `airflow_home` that run a group's workers.

    Parameters
    ----------
    group
        Whose workers.
    queues
        Every declared queue.
    tag
        Of the home.
    """
    name = worker_name(group, tag=tag)
    # Airflow would serve logs on every interface of the machine; the stack has a server of its own.
    return (*workers.arguments(group, queues, name=name), "--skip-serve-logs")


def stage_of(name: str) -> Stage:
    """Return the stage of a program of that name."""
    return {POSTGRES: Stage.DATABASE, VALKEY: Stage.SERVERS, BANK: Stage.SERVERS, MAIL: Stage.SERVERS}.get(
        name, Stage.AIRFLOW
    )


@dataclass(frozen=True)
class Program:
    """One supervised program.

    Parameters
    ----------
    name
        Also the name of its log.
    command
        Run without a shell.
    directory
        Where it runs.
    stop_signal
        Asks it to end.
    stop_grace
        How long it may take; then it is killed, with all its children.
    user
        The account to run it under; None for the caller's.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    stop_signal: str = "TERM"
    stop_grace: timedelta = timedelta(seconds=8)
    user: str | None = None

    @property
    def stage(self) -> Stage:
        """When it starts."""
        return stage_of(self.name)


def postgres(home: Home, cluster: Cluster, *, port: int, settings: Mapping[str, str]) -> Program:
    """Return the embedded Postgres; it is stopped at once, rolling back what runs, and not killed easily."""
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
    """Return the mail server that keeps every mail."""
    command = (str(interpreter()), "-m", "dev.mail", "--port", str(port), "--folder", str(home.mails_folder))
    return Program(MAIL, command, REPOSITORY)


def airflow(home: Home, groups: Sequence[WorkerGroup], queues: Sequence[Queue], *, log_port: int) -> list[Program]:
    """Return Airflow's own programs, and one worker for each group.

    Parameters
    ----------
    home
        Where Airflow keeps its files.
    groups, queues
        As declared.
    log_port
        Port of the server of task logs.
    """
    commands = {
        API_SERVER: ("api-server",),
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "dag-processor": ("dag-processor",),
        **{worker_program_name(group): worker_arguments(group, queues, tag=home.tag) for group in groups},
    }
    triggerer = _python_program(home, "triggerer", "airflow", "triggerer", "--skip-serve-logs")
    log_server = ("uvicorn", "--factory", "airflow.utils.serve_logs.log_server:get_app", "--host", LOOPBACK)
    options = ("--port", str(log_port), "--log-level", "warning", "--no-access-log")
    return [
        *(_python_program(home, name, "airflow", *arguments) for name, arguments in commands.items()),
        # It asks its child to end at once, but notices ten seconds later that it has.
        replace(triggerer, stop_grace=timedelta(seconds=3)),
        _python_program(home, TASK_LOGS, *log_server, *options),
    ]


def _python_program(home: Home, name: str, module: str, *arguments: str) -> Program:
    # -P: a module must not be found in the working directory.
    return Program(name, (str(interpreter()), "-P", "-m", module, *arguments), home.airflow_home)


def _empty_environment(home: Home) -> tuple[str, ...]:
    """Return what to put before a server that needs nothing from its environment, to be found by its marker alone."""
    return ("env", "-i", f"{HOME_VARIABLE}={home.folder}", "LC_ALL=C")
