from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest
from upath import UPath

from dev.stack.stack import Stack
from etl.settings import Endpoint

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(stack: Stack, database: Endpoint, root: UPath) -> dict[str, str]:
    """Return the environment of a shell, for the test's own warehouse and raw root."""
    held = json.loads(stack.environment["AIRFLOW_CONN_WAREHOUSE"])
    connection = json.dumps({**held, "schema": database.schema})
    return {**stack.environment, "AIRFLOW_CONN_WAREHOUSE": connection, "SLUICE_RAW_ROOT": str(root)}


@pytest.fixture
def etl(environment: Mapping[str, str]) -> Command:
    """Return a function that runs the command line."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "etl", *arguments],
            env={**environment, **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run
