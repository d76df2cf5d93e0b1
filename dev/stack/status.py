"""What of a stack runs."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dev.servers import processes
from dev.stack import home as homes
from dev.stack import ports_file
from dev.stack.down import control
from dev.stack.home import MARKER, Home
from dev.stack.supervisor import ALIVE, ProgramState


@dataclass(frozen=True)
class Status:
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
        return bool(self.programs) and all(program.state in ALIVE for program in self.programs)

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
        ports = ports_file.load(self.home.ports)
        return [*(_line(program, width) for program in self.programs), f"Ports: {_listed(ports)}."]


def status(folder: Path) -> Status:
    """Return what of the stack in a home runs.

    Raises
    ------
    HomeRefused
        If the home belongs to another user.
    """
    home = homes.find(folder)
    supervisor = control(home)
    states = (supervisor.states() if supervisor else None) or {}
    orphans = 0 if states else len(processes.carrying(MARKER, str(home.folder)))
    return Status(home, tuple(states.values()), orphans)


def _line(program: ProgramState, width: int) -> str:
    since = f"for {timedelta(seconds=program.uptime)}, process {program.pid}" if program.pid else ""
    return f"{program.name:{width}}  {program.state.lower():8}  {since}".rstrip()


def _listed(ports: dict[str, int]) -> str:
    return ", ".join(f"{name} {port}" for name, port in ports.items())
