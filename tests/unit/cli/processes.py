"""The command line as processes: as a module, and as the installed command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

INSTALLED = (str(Path(sys.executable).with_name("sluice")),)
MODULE = (sys.executable, "-m", "etl")
BOTH_COMMANDS = pytest.mark.parametrize("command", [INSTALLED, MODULE], ids=["sluice", "python -m etl"])


def run(
    *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        arguments, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def run_into_closed_pipe(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command whose output nobody reads, as with `| true`, and which is buffered."""
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as reader:
        reader.wait(timeout=60)
        return subprocess.run(
            arguments,
            env={**(environment or os.environ), "PYTHONUNBUFFERED": ""},
            stdout=reader.stdin,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
