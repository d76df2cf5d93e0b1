"""State of a stack: its programs, the components of Airflow and the workers."""

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

HEALTH_PATH = "/api/v2/monitor/health"
COMPONENTS = ("scheduler", "dag_processor", "triggerer")
_PING_SECONDS = 1.0


@dataclass(frozen=True)
class StackStatus:
    """State of a stack.

    Parameters
    ----------
    home
        Home of the stack.
    programs
        States of all programs; empty if no supervisor runs.
    orphans
        Number of programs that run without a supervisor.
    """

    home: Home
    programs: tuple[ProgramState, ...]
    orphans: int = 0

    @property
    def is_up(self) -> bool:
        """Whether all programs run or start."""
        return bool(self.programs) and all(program.state in ALIVE_STATES for program in self.programs)

    @property
    def lines(self) -> list[str]:
        """Text for people, one line for each program."""
        if self.orphans:
            running = f"The supervisor of {self.home.folder} does not run, but {self.orphans} of its programs still run"
            return [f"{running}: start or stop the stack to end them."]
        if not self.programs:
            return [f"Nothing runs in {self.home.folder}."]
        width = max(len(program.name) for program in self.programs)
        ports = saved_state.load_ports(self.home.ports_file)
        return [*(_program_line(program, width) for program in self.programs), f"Ports: {_format_ports(ports)}."]


def status(folder: Path) -> StackStatus:
    """Return the state of the stack in a home.

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


def fetch_unhealthy_components(port: int, *, since: datetime) -> list[str]:
    """Return the components of Airflow that are not healthy by the API server, or `api-server` if it does not respond.

    Parameters
    ----------
    port
        Port of the API server.
    since
        Start of the stack; earlier heartbeats do not count.
    """
    health = http.get_json(port, HEALTH_PATH)
    return ["api-server"] if health is None else unhealthy_components(health, since=since)


def unhealthy_components(health: Mapping[str, Any], *, since: datetime) -> list[str]:
    """Return the components that are not healthy in a response of the API server; see `fetch_unhealthy_components`."""
    return [component for component in COMPONENTS if not _is_healthy(health.get(component), component, since)]


def unresponsive_workers(broker_url: str, names: Sequence[str], *, tag: str) -> list[str]:
    """Return the names of workers that do not respond to a ping.

    Parameters
    ----------
    broker_url
        URL of their broker.
    names
        Names of the workers, up to the `@`.
    tag
        End of these names, by which they differ from those of other stacks.
    """
    from celery import Celery

    with Celery(broker=broker_url, set_as_current=False) as app:
        inspect = app.control.inspect(pattern=f"*-{tag}@*", matcher="glob", limit=len(names), timeout=_PING_SECONDS)
        responsive = {worker.partition("@")[0] for worker in (inspect.ping() or {})}
    return [name for name in names if name not in responsive]


def _program_line(program: ProgramState, width: int) -> str:
    since = f"for {timedelta(seconds=program.uptime)}, process {program.pid}" if program.pid else ""
    return f"{program.name:{width}}  {program.state.lower():8}  {since}".rstrip()


def _format_ports(ports: dict[str, int]) -> str:
    return ", ".join(f"{name} {port}" for name, port in ports.items())


def _is_healthy(component: Mapping[str, Any] | None, name: str, since: datetime) -> bool:
    if component is None or component.get("status") != "healthy":
        return False
    heartbeat = component.get(f"latest_{name}_heartbeat")
    return heartbeat is not None and datetime.fromisoformat(heartbeat) >= since
