"""What the services of a project take: read from the engine while something else goes on."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from dev.compose.project import CommandFailed, Project

_INTERVAL_SECONDS = 4.0
_UNITS = {"B": 1.0 / (1 << 20), "KiB": 1.0 / 1024, "MiB": 1.0, "GiB": 1024.0}


def current_usage(project: Project) -> dict[str, float]:
    """Return the MiB that each container of a project takes, by its name."""
    ids = project.compose("ps", "--quiet", "--status=running").split()
    shown = project.run(("docker", "stats", "--no-stream", "--format", "{{json .}}", *ids))
    rows = (json.loads(line) for line in shown.splitlines())
    return {_service(row["Name"], project): _mebibytes(row["MemUsage"].partition("/")[0].strip()) for row in rows}


@contextmanager
def track_peak(project: Project) -> Iterator[dict[str, float]]:
    """Fill a mapping with the most that each container was seen to take, until the block ends."""
    most: dict[str, float] = defaultdict(float)
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_INTERVAL_SECONDS):
            try:
                for name, mebibytes in current_usage(project).items():
                    most[name] = max(most[name], mebibytes)
            except CommandFailed:  # a container that ended between two questions
                continue

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _service(container: str, project: Project) -> str:
    return container.removeprefix(f"{project.name}-")


def _mebibytes(text: str) -> float:
    unit = next(unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit))
    return round(float(text.removesuffix(unit)) * _UNITS[unit], 1)
