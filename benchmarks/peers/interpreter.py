"""The interpreter of the peers, who have an environment of their own, so that they pin what they like."""

from __future__ import annotations

import os
from pathlib import Path

from dev.stack.home import REPOSITORY

_DEFAULT_INTERPRETER = REPOSITORY / ".venv-bench" / "bin" / "python"


class PeersMissing(Exception):
    """There is no environment with the peers."""

    def __init__(self, expected_path: Path) -> None:
        super().__init__(f"{expected_path} is missing; `make bench` makes it, or let PEERS_PYTHON name another.")


def interpreter() -> Path:
    """Return the interpreter that `make bench` has installed, or the one that PEERS_PYTHON names.

    Raises
    ------
    PeersMissing
        If there is none.
    """
    path = Path(os.environ.get("PEERS_PYTHON", _DEFAULT_INTERPRETER))
    if not path.exists():
        raise PeersMissing(path)
    return path
