"""The ports of a home."""

import json
from collections.abc import Callable
from pathlib import Path

from dev.servers import private_files
from dev.servers.ports import candidates, choose, is_free

NAMES = ("ui", "postgres", "valkey", "bank", "mail", "logs", "supervisor")


def load(path: Path) -> dict[str, int]:
    """Return the ports of the last start, none if there was none."""
    text = private_files.read(path)
    known = json.loads(text) if text else {}
    return {name: port for name, port in known.items() if name in NAMES}


def settle(
    path: Path, *, ui: int | None, say: Callable[[str], None], free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """Choose and write down the ports of this start: those of the last one wherever they are still free.

    Parameters
    ----------
    path
        Where the ports are remembered.
    ui
        Port that the web UI has at the first start, if it is free; None for any.
    say
        Is told of every port that is not what it was or should be.
    free
        Whether a port can be listened on.
    """
    before = load(path)
    wanted = {name: before.get(name, ui if name == "ui" else None) for name in NAMES}
    ports = choose(wanted, is_free=free, among=candidates())
    for name, port in wanted.items():
        if port is not None and ports[name] != port:
            again = "; read the env file again in open shells" if name in before else ""
            say(f"Port {port} is taken by another program: {name} moves to {ports[name]}{again}.")
    private_files.write(path, json.dumps(ports, indent=2) + "\n")
    return ports
