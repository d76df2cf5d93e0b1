"""What of a stack runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dev.servers import http, processes
from dev.stack import home as homes
from dev.stack import saved_state
from dev.stack.down import find_supervisor
from dev.stack.home import HOME_VARIABLE, Home
from dev.stack.supervisor import ALIVE_STATES, ProgramState


@dataclass(frozen=True)
class StackStatus:
    """What of a stack runs.

    Parameters
    ----------
    home
        Whose stack.
    programs
        What its supervisor knows; empty if none runs.
    orphans
        Programs that run without it.
    """

    home: Home
    programs: tuple[ProgramState, ...]
    orphans: int = 0

    @property
    def is_up(self) -> bool:
        """Whether every program runs."""
        return bool(self.programs) and all(program.state in ALIVE_STATES for program in self.programs)

    @property
    def lines(self) -> list[str]:
        """For people: one line a program."""
        if self.orphans:
            mend = "start the stack again, or stop it, to end them"
            return [
                f"The supervisor of {self.home.folder} is gone, and {self.orphans} of its programs still run: {mend}."
            ]
        if not self.programs:
            return [f"Nothing runs in {self.home.folder}."]
        width = max(len(program.name) for program in self.programs)
        ports = saved_state.load_ports(self.home.ports_file)
        return [*(_program_line(program, width) for program in self.programs), f"Ports: {_format_ports(ports)}."]


def status(folder: Path) -> StackStatus:
    """Return what of the stack in a home runs.

    Raises
    ------
    HomeRefused
        If the home belongs to another user.
    """
    home = homes.find(folder)
    supervisor = find_supervisor(home)
    states = (supervisor.states() if supervisor else None) or {}
    orphans = 0 if states else len(processes.with_environment(HOME_VARIABLE, str(home.folder)))
    return StackStatus(home, tuple(states.values()), orphans)


def _program_line(program: ProgramState, width: int) -> str:
    since = f"for {timedelta(seconds=program.uptime)}, process {program.pid}" if program.pid else ""
    return f"{program.name:{width}}  {program.state.lower():8}  {since}".rstrip()


def _format_ports(ports: dict[str, int]) -> str:
    return ", ".join(f"{name} {port}" for name, port in ports.items())


HEALTH_PATH = "/api/v2/monitor/health"
COMPONENTS = ("scheduler", "dag_processor", "triggerer")
_PING_SECONDS = 1.0


def fetch_unhealthy_components(port: int, *, since: datetime) -> list[str]:
    """Return which parts of Airflow the API server does not, or not yet, call healthy.

    Parameters
    ----------
    port
        Of the API server.
    since
        Heartbeats before this instant are of an earlier start.
    """
    return (
        ["api-server"]
        if (health := http.get_json(port, HEALTH_PATH)) is None
        else unhealthy_components(health, since=since)
    )


def unhealthy_components(health: Mapping[str, Any], *, since: datetime) -> list[str]:
    """Return the components that an answer of the API server does not call healthy since an instant."""
    return [component for component in COMPONENTS if not _is_healthy(health.get(component), component, since)]


def unresponsive_workers(broker_url: str, names: Sequence[str], *, tag: str) -> list[str]:
    """Return which workers do not answer on the broker.

    Parameters
    ----------
    broker_url
        Where they listen.
    names
        What stands before `@` in their names.
    tag
        What these names end with, and those of other stacks do not.
    """
    from celery import Celery

    with Celery(broker=broker_url, set_as_current=False) as app:
        inspect = app.control.inspect(pattern=f"*-{tag}@*", matcher="glob", limit=len(names), timeout=_PING_SECONDS)
        answered = {worker.partition("@")[0] for worker in (inspect.ping() or {})}
    return [name for name in names if name not in answered]


def _is_healthy(component: Mapping[str, Any] | None, name: str, since: datetime) -> bool:
    if component is None or component.get("status") != "healthy":
        return False
    beat = component.get(f"latest_{name}_heartbeat")
    return beat is not None and datetime.fromisoformat(beat) >= since
