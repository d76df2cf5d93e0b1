"""What a benchmark found: a goal, what was measured, and whether that reaches it."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.json")
RESULTS_FILE_VARIABLE = "BENCHMARKS_SHOWN"
"""Variable that names a file to which results are added as they are shown, a line of JSON each."""
_GIB = 1 << 30


@dataclass(frozen=True)
class Result:
    """One row of the kind name, goal, measured, reached.

    Parameters
    ----------
    name
        What was measured, with its size.
    goal
        Such as `<= 0.5 %`.
    measured
        In the goal's unit, with its spread where it was measured more than once.
    reached
        Whether the goal is.
    detail
        The figures behind it; units are in their names.
    tried
        What was done to reach the goal and what stands in the way; told where it is missed.
    """

    name: str
    goal: str
    measured: str
    reached: bool
    detail: Mapping[str, object] = field(default_factory=dict)
    tried: str = ""


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing.

    Parameters
    ----------
    median, minimum, maximum
        In the unit of the measurements.
    """

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, measurements: Sequence[float]) -> Spread:
        """Return the spread of at least one measurement."""
        return cls(statistics.median(measurements), min(measurements), max(measurements))

    def __str__(self) -> str:
        """Return the median, and the least and the most in brackets."""
        return f"{self.median:.4g} ({self.minimum:.4g}–{self.maximum:.4g})"


def show(results: Sequence[Result], console: Console) -> None:
    """Print results as a table; while several benchmarks run, whoever runs them is told, too."""
    table = Table("benchmark", "goal", "measured", "reached")
    for result in results:
        table.add_row(result.name, result.goal, result.measured, "yes" if result.reached else "NO")
    console.print(table)
    for missed in [result for result in results if result.tried and not result.reached]:
        console.print(f"{missed.name}: {missed.tried}", markup=False)
    if told := os.environ.get(RESULTS_FILE_VARIABLE):
        with Path(told).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(result)) + "\n" for result in results)


def read_shown(path: Path) -> list[Result]:
    """Return the results that were shown while SHOWN named a file."""
    return [Result(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def append(results: Sequence[Result], *, command: str, path: Path = RESULTS) -> None:
    """Add results, with the day, the machine and the command, in place of earlier ones of the same names."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    circumstances = {"measured_on": datetime.now(UTC).date().isoformat(), "machine": _machine(), "command": command}
    kept = {row["name"]: row for row in earlier}
    kept |= {result.name: {**asdict(result), **circumstances} for result in results}
    text = json.dumps(list(kept.values()), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{len(os.sched_getaffinity(0))} cores, {memory / _GIB:.0f} GiB"
