"""Finds the Python interpreter of the peers, the compared software, which has an environment and pins of its own."""

from __future__ import annotations

import os
from pathlib import Path

from dev.stack.home import REPOSITORY

_DEFAULT_INTERPRETER = REPOSITORY / ".venv-bench" / "bin" / "python"


class PeersMissing(Exception):
    """The environment of the peers is missing."""

    def __init__(self, expected_path: Path) -> None:
        super().__init__(
            f"{expected_path} is missing; run `make bench`, which creates it, or set PEERS_PYTHON to another."
        )


def interpreter() -> Path:
    """Return the interpreter that PEERS_PYTHON names, or else the one that `make bench` installed.

    Raises
    ------
    PeersMissing
        If it does not exist.
    """
    path = Path(os.environ.get("PEERS_PYTHON", _DEFAULT_INTERPRETER))
    if not path.exists():
        raise PeersMissing(path)
    return path
