"""Starts a stack, or as much of it as does not run yet."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from dev.servers.ports import LOOPBACK, is_free
from dev.stack import airflow_start, environment, leftovers, planning, server_start, stack, stopping
from dev.stack import home as homes
from dev.stack.down import control
from dev.stack.home import DEFAULT_HOME, Home
from dev.stack.locked import locked
from dev.stack.plan import Plan
from dev.stack.planning import Wishes
from dev.stack.programs import API_SERVER, BANK, MAIL, TASK_LOGS, Stage
from dev.stack.stack import Stack
from dev.stack.supervisor import ALIVE, Supervisor, launch


class Extent(Enum):
    """How much of a stack to start."""

    SERVERS = "servers"
    """Postgres, Valkey and the sandbox bank."""

    ALL = "all"
    """These, and Airflow."""


def up(
    folder: Path = DEFAULT_HOME,
    *,
    extent: Extent = Extent.ALL,
    caller: Mapping[str, str] = os.environ,
    wishes: Wishes | None = None,
    say: Callable[[str], None] = print,
) -> Stack:
    """Start the stack of a home; whatever runs already is left alone.

    Parameters
    ----------
    folder
        The home; it is made if it does not exist.
    extent
        How much to start.
    caller
        The environment that the programs inherit; WAREHOUSE_URL and BROKER_URL in it name servers to use instead
        of embedded ones.
    wishes
        What differs from the usual.
    say
        Is told, in sentences, how it goes on.

    Raises
    ------
    StackError
        If something cannot be started; whatever was started for it is stopped again.
    """
    home = homes.find(folder)
    homes.make(home)
    with locked(home, say=say):
        plan = _running(home, caller=caller, wishes=wishes or Wishes(), say=say)
        fresh = plan is None
        if plan is None:
            plan = _begin(home, caller=caller, wishes=wishes or Wishes(), say=say)
        if extent is Extent.ALL:
            _airflow(plan, caller=caller, say=say, undo=tuple(Stage) if fresh else (Stage.AIRFLOW,))
        elif not fresh:
            say(f"The servers of {home.folder} are up already.")
        return stack.of(plan, caller=caller)


def _running(home: Home, *, caller: Mapping[str, str], wishes: Wishes, say: Callable[[str], None]) -> Plan | None:
    """Return the plan of a stack whose servers run, None if they do not; one with other settings is stopped."""
    supervisor = control(home)
    if supervisor is None or supervisor.states() is None:
        return None
    plan = planning.of_running(home, caller=caller, wishes=wishes, say=say)
    if not plan.is_written():
        say("The stack runs with other settings; starting it again.")
        stopping.stop_all(home, supervisor)
        return None
    if taken := _taken(plan, supervisor):
        say(f"Port {taken} is taken by another program by now; starting the stack again, on another.")
        stopping.stop_all(home, supervisor)
        return None
    if server_start.missing(plan):
        server_start.start(plan, supervisor, say=say)
    return plan


def _taken(plan: Plan, supervisor: Supervisor) -> int | None:
    """Return the port of a part that does not run, if somebody else listens on it."""
    states = supervisor.states() or {}
    for port, program in (("ui", API_SERVER), ("logs", TASK_LOGS), ("bank", BANK), ("mail", MAIL)):
        if states[program].state not in ALIVE and not is_free(plan.ports[port]):
            return plan.ports[port]
    return None


def _begin(home: Home, *, caller: Mapping[str, str], wishes: Wishes, say: Callable[[str], None]) -> Plan:
    """Start the supervisor and the servers."""
    leftovers.end(home, say=say)
    plan = planning.of_start(home, caller=caller, wishes=wishes, say=say)
    server_start.check_and_make(plan, say=say)
    plan.write()
    programs = environment.of_programs(plan.variables, caller=caller, home=home)
    launch(home.supervisor, environment=programs, output=home.log("supervisord-start"))
    supervisor = _supervisor(plan)
    with _undone_on_failure(home, supervisor, tuple(Stage), say=say):
        server_start.start(plan, supervisor, say=say)
    return plan


def _airflow(plan: Plan, *, caller: Mapping[str, str], say: Callable[[str], None], undo: Collection[Stage]) -> None:
    """Start Airflow unless it is up."""
    supervisor = _supervisor(plan)
    states = supervisor.states() or {}
    names = [program.name for program in plan.programs if program.stage is Stage.AIRFLOW]
    if all(states[name].state in ALIVE for name in names) and not airflow_start.missing(plan):
        say(f"Everything is up already: Airflow on http://{LOOPBACK}:{plan.ports['ui']}.")
        return
    programs = environment.of_programs(plan.variables, caller=caller, home=plan.home)
    with _undone_on_failure(plan.home, supervisor, undo, say=say):
        airflow_start.start(plan, supervisor, environment=programs, say=say)


@contextmanager
def _undone_on_failure(
    home: Home, supervisor: Supervisor, stages: Collection[Stage], *, say: Callable[[str], None]
) -> Iterator[None]:
    try:
        yield
    except BaseException:
        say("Stopping what was started.")
        if set(stages) == set(Stage):
            stopping.stop_all(home, supervisor)
        else:
            stopping.stop_programs(supervisor, stages=stages)
        raise


def _supervisor(plan: Plan) -> Supervisor:
    return Supervisor(plan.ports["supervisor"], plan.secrets.supervisor_password)
