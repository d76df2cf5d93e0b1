"""Restarting the Dag processor and the workers of a running stack, so that they import edited steps and plugins."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dev.servers import databases, private_files
from dev.servers.binaries import interpreter
from dev.servers.errors import QueuesChanged, ReloadRefused, StackNotRunning
from dev.stack import home as homes
from dev.stack import prepare_databases, programs, saved_state, shell_environment, status, wait
from dev.stack.chosen_servers import METADATA_VARIABLE
from dev.stack.down import find_supervisor
from dev.stack.home import DEFAULT_HOME, Home
from dev.stack.lock import hold_lock
from dev.stack.supervisor import ALIVE_STATES, Supervisor, has_program
from etl.declare import fault

GRACE = timedelta(seconds=60)
"""Time that running tasks have to finish."""

_HANDOVER = timedelta(seconds=20)
"""Time in which a worker hands back the tasks that did not finish; then it is killed."""
_POLL_INTERVAL = timedelta(milliseconds=200)
_READY_TIMEOUT = timedelta(minutes=4)
_OUTPUT_TAIL_LINES = 8
_IMPORT_ALL = """
import airflow.settings
from importlib import import_module
from pathlib import Path
from sluice_celery_config import PRELOADED

for module in (*PRELOADED, *(path.stem for path in Path(airflow.settings.PLUGINS_FOLDER).glob("*.py"))):
    import_module(module)
"""


def reload(
    folder: Path = DEFAULT_HOME,
    *,
    caller_environment: Mapping[str, str] = os.environ,
    grace: timedelta = GRACE,
    say: Callable[[str], None] = print,
) -> None:
    """Restart the Dag processor and the workers; a worker first finishes its tasks, and takes no others meanwhile.

    A task that does not finish is handed back: it fails with the signal in its log, and is retried.

    Parameters
    ----------
    folder
        Home of the stack.
    caller_environment
        Environment for the check of the edited code.
    grace
        Time that running tasks have to finish.
    say
        Called with each message for the user.

    Raises
    ------
    StackNotRunning
        If Airflow does not run.
    QueuesChanged
        If the declared queues need other workers or pools.
    ReloadRefused
        If the edited code cannot be imported.
    NotReady, ProgramDied
        If a program does not start again.
    """
    home = homes.find(folder)
    if not home.folder.exists():
        raise StackNotRunning(home.folder)
    with hold_lock(home, say=say):
        supervisor = find_supervisor(home)
        states = supervisor.states() if supervisor else None
        if supervisor is None or states is None or states[programs.DAG_PROCESSOR].state not in ALIVE_STATES:
            raise StackNotRunning(home.folder)
        variables = shell_environment.read_env_file(home.env_file)
        worker_names = _worker_names(home, variables)
        names = [programs.DAG_PROCESSOR, *worker_names.values()]
        environment = shell_environment.for_programs(variables, caller_environment=caller_environment, home=home)
        _require_importable(environment, home)
        started, started_at = time.monotonic(), datetime.now(UTC)
        say(f"Restarting {', '.join(names)}; running tasks have {grace.total_seconds():.0f} s to finish.")
        _restart(supervisor, {name: states[name].pid for name in worker_names.values()}, grace=grace, say=say)
        port = saved_state.load_ports(home.ports_file)["ui"]
        wait.until_ready(
            lambda: _unready(port, variables["BROKER_URL"], worker_names, tag=home.tag, since=started_at),
            programs=names,
            supervisor=supervisor,
            home=home,
            timeout=_READY_TIMEOUT,
        )
        say(f"Reloaded in {time.monotonic() - started:.0f} s.")


def _worker_names(home: Home, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the programs of the workers by the names of these, if they are those that the queues need."""
    with fault.explained():
        from etl.catalog.queues import QUEUES, WORKER_GROUPS

    configuration = private_files.read(home.supervisor_configuration) or ""
    log_port = saved_state.load_ports(home.ports_file)["logs"]
    planned = programs.airflow(home, WORKER_GROUPS, QUEUES, log_port=log_port)
    metadata = variables[METADATA_VARIABLE].replace("+psycopg", "", 1)
    is_prepared = databases.read_comment(metadata) == prepare_databases.metadata_stamp(QUEUES)
    if not is_prepared or not all(has_program(configuration, program) for program in planned):
        raise QueuesChanged
    return {programs.worker_name(group, tag=home.tag): programs.worker_program_name(group) for group in WORKER_GROUPS}


def _require_importable(environment: Mapping[str, str], home: Home) -> None:
    done = subprocess.run(
        (str(interpreter()), "-P", "-c", _IMPORT_ALL),
        cwd=home.folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ReloadRefused(done.stdout.splitlines()[-_OUTPUT_TAIL_LINES:])


def _restart(
    supervisor: Supervisor, workers: Mapping[str, int], *, grace: timedelta, say: Callable[[str], None]
) -> None:
    """End each program, workers gently at first; the supervisor starts a worker that has ended again.

    Parameters
    ----------
    supervisor
        Supervisor of the programs.
    workers
        Programs of the workers, with their process ids.
    grace
        Time that running tasks have to finish.
    say
        Called with each message for the user.
    """
    for name in workers:
        supervisor.signal(name, "TERM")
    # Has no tasks, and may miss a signal: Airflow's handler raises an error, which a query in progress can swallow.
    _stop_and_start(supervisor, programs.DAG_PROCESSOR)
    working = _wait_for_restart(supervisor, workers, grace)
    for name in working:
        say(f"{name}: not ended in time; its tasks are handed back.")
        supervisor.signal(name, "QUIT")
    for name in _wait_for_restart(supervisor, {name: workers[name] for name in working}, _HANDOVER):
        say(f"{name} does not end; killing it.")
        _stop_and_start(supervisor, name)


def _stop_and_start(supervisor: Supervisor, name: str) -> None:
    """Start a program again once it has ended; the supervisor kills it if it takes longer than its grace."""
    supervisor.stop(name)
    deadline = time.monotonic() + _HANDOVER.total_seconds()
    while time.monotonic() < deadline and ((states := supervisor.states()) is None or states[name].pid):
        time.sleep(_POLL_INTERVAL.total_seconds())
    supervisor.start(name)


def _wait_for_restart(supervisor: Supervisor, before: Mapping[str, int], limit: timedelta) -> list[str]:
    """Wait until programs have other process ids than before, and return those that have not in time."""
    deadline = time.monotonic() + limit.total_seconds()
    waiting = list(before)
    while waiting and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL.total_seconds())
        if states := supervisor.states():
            waiting = [
                name
                for name in waiting
                if states[name].pid in (0, before[name]) or states[name].state not in ALIVE_STATES
            ]
    return waiting


def _unready(port: int, broker_url: str, workers: Mapping[str, str], *, tag: str, since: datetime) -> list[str]:
    if unhealthy := status.fetch_unhealthy_components(port, since=since):
        return unhealthy
    return [workers[name] for name in status.unresponsive_workers(broker_url, list(workers), tag=tag)]
