"""Stops a stack; what it keeps stays."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from dev.stack import home as homes
from dev.stack import leftovers, ports_file, secrets_file, stopping
from dev.stack.home import DEFAULT_HOME, Home
from dev.stack.locked import locked
from dev.stack.supervisor import Supervisor


def down(folder: Path = DEFAULT_HOME, *, say: Callable[[str], None] = print) -> None:
    """Stop every program of a home, Postgres last, whether or not its supervisor still runs.

    Parameters
    ----------
    folder
        The home; it may not exist any more.
    say
        Is told, in sentences, what is done.

    Raises
    ------
    HomeRefused
        If the home belongs to another user.
    """
    home = homes.find(folder)
    with locked(home, say=say) if home.folder.exists() else nullcontext():
        supervisor = control(home)
        supervised = supervisor is not None and supervisor.states() is not None
        if supervisor is not None and supervised:
            stopping.stop_all(home, supervisor)
        left = leftovers.end(home, say=say)
        say(f"Stopped; data stays in {home.folder}." if supervised or left else f"Nothing runs in {home.folder}.")


def control(home: Home) -> Supervisor | None:
    """Return the supervisor of a home, whether or not it runs; None if the home never had one."""
    port = ports_file.load(home.ports).get("supervisor")
    if port is None or not home.secrets.exists():
        return None
    return Supervisor(port, secrets_file.load(home.secrets).supervisor_password)
