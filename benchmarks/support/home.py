"""A stack of a benchmark's own, in a temporary folder; what the caller's shell names is left alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.stack.down import down

_SERVER_VARIABLES = ("WAREHOUSE_URL", "BROKER_URL", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "SANDBOX_CSV")


@contextmanager
def temporary() -> Iterator[Path]:
    """Return a home for a stack; whatever runs in it at the end is stopped, and what it kept is removed."""
    with tempfile.TemporaryDirectory(prefix="sluice-benchmark-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            yield home
        finally:
            down(home)


def caller_environment(**more: str) -> dict[str, str]:
    """Return this environment without the servers that it names, and with some variables more."""
    kept = {name: value for name, value in os.environ.items() if name not in _SERVER_VARIABLES}
    return {**kept, **more}
