"""Memory usage of a project's services, read from the Docker engine while they run."""

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
    """Return the memory usage of each running container of a project: name → MiB."""
    ids = project.compose("ps", "--quiet", "--status=running").split()
    stats = project.run(("docker", "stats", "--no-stream", "--format", "{{json .}}", *ids))
    rows = (json.loads(line) for line in stats.splitlines())
    return {_service(row["Name"], project): _mebibytes(row["MemUsage"].partition("/")[0].strip()) for row in rows}


@contextmanager
def track_peak(project: Project) -> Iterator[dict[str, float]]:
    """Yield a mapping of container to peak memory usage in MiB, which is updated until the block ends."""
    peak: dict[str, float] = defaultdict(float)
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_INTERVAL_SECONDS):
            try:
                for name, mebibytes in current_usage(project).items():
                    peak[name] = max(peak[name], mebibytes)
            except CommandFailed:  # a container ended between `ps` and `stats`
                continue

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _service(container: str, project: Project) -> str:
    return container.removeprefix(f"{project.name}-")


def _mebibytes(text: str) -> float:
    unit = next(unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit))
    return round(float(text.removesuffix(unit)) * _UNITS[unit], 1)
