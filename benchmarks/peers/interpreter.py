"""The interpreter of the peers, who have an environment of their own, so that they pin what they like."""

from __future__ import annotations

import os
from pathlib import Path

from dev.stack.home import REPOSITORY

_MADE_BY_MAKE = REPOSITORY / ".venv-bench" / "bin" / "python"


class PeersMissing(Exception):
    """There is no environment with the peers."""

    def __init__(self, looked_for: Path) -> None:
        super().__init__(f"{looked_for} is missing; `make bench` makes it, or let PEERS_PYTHON name another.")


def interpreter() -> Path:
    """Return the interpreter that `make bench` has installed, or the one that PEERS_PYTHON names.

    Raises
    ------
    PeersMissing
        If there is none.
    """
    path = Path(os.environ.get("PEERS_PYTHON", _MADE_BY_MAKE))
    if not path.exists():
        raise PeersMissing(path)
    return path
