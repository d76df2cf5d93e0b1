"""A stack in a temporary folder, which does not use the servers named by the caller's environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.stack.down import down
from dev.stack.shell_environment import PROVIDER_CONNECTIONS

_SERVER_VARIABLES = (
    "WAREHOUSE_URL",
    "BROKER_URL",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "SANDBOX_CSV",
    *PROVIDER_CONNECTIONS,
)


@contextmanager
def temporary() -> Iterator[Path]:
    """Yield a home for a stack; when the block ends, the stack is stopped and its files are removed."""
    with tempfile.TemporaryDirectory(prefix="sluice-benchmark-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            yield home
        finally:
            down(home)


def caller_environment(**additional: str) -> dict[str, str]:
    """Return this process's environment without the variables that name servers, and with additional ones."""
    inherited = {name: value for name, value in os.environ.items() if name not in _SERVER_VARIABLES}
    return {**inherited, **additional}
