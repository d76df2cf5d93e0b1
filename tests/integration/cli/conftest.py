"""The command line of a test: as a module, and as the installed command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from upath import UPath

from dev.stack.stack import Stack
from etl.settings import Endpoint

Command = Callable[..., subprocess.CompletedProcess[str]]

INSTALLED = str(Path(sys.executable).with_name("sluice"))
"""The console command that `make install` puts beside Python."""


@pytest.fixture
def environment(stack: Stack, database: Endpoint, root: UPath) -> dict[str, str]:
    """Return the environment of a shell, for the test's own warehouse and raw root."""
    warehouse = json.loads(stack.environment["AIRFLOW_CONN_WAREHOUSE"])
    connection = json.dumps({**warehouse, "schema": database.schema})
    return {**stack.environment, "AIRFLOW_CONN_WAREHOUSE": connection, "SLUICE_RAW_ROOT": str(root)}


@pytest.fixture
def etl(environment: Mapping[str, str]) -> Command:
    """Return a function that runs `sluice`; its keyword arguments are environment variables."""
    return _runner([sys.executable, "-m", "etl"], environment)


@pytest.fixture
def sluice(environment: Mapping[str, str]) -> Command:
    """Return a function that runs the installed command, as `etl` does."""
    return _runner([INSTALLED], environment)


def _runner(command: Sequence[str], environment: Mapping[str, str]) -> Command:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            env={**environment, **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run
