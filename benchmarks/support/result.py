"""Results of benchmarks: printed as a table, and saved in `results.json`."""

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

RESULTS = Path(__file__).parents[1] / "results.json"
RESULTS_FILE_VARIABLE = "BENCHMARKS_SHOWN"
"""Environment variable with the path of a file to which `show` appends each result as a line of JSON."""
_GIB = 1 << 30


@dataclass(frozen=True)
class BenchmarkResult:
    """A measured value and its goal.

    Parameters
    ----------
    name
        What was measured, with its size.
    goal
        The goal as text, such as `<= 0.5 %`.
    measured
        The measured value, in the goal's unit, with its spread if it was measured more than once.
    reached
        Whether the goal is reached.
    detail
        The underlying figures; their names contain the units.
    tried
        What was done to reach the goal, and what limits it; printed if the goal is missed.
    """

    name: str
    goal: str
    measured: str
    reached: bool
    detail: Mapping[str, object] = field(default_factory=dict)
    tried: str = ""


@dataclass(frozen=True)
class Spread:
    """The spread of repeated measurements.

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
        """Return the median, with minimum and maximum in brackets."""
        return f"{self.median:.4g} ({self.minimum:.4g}–{self.maximum:.4g})"


def show(results: Sequence[BenchmarkResult], console: Console) -> None:
    """Print results as a table, and append them to the file that RESULTS_FILE_VARIABLE names, if it is set."""
    table = Table("benchmark", "goal", "measured", "reached")
    for result in results:
        table.add_row(result.name, result.goal, result.measured, "yes" if result.reached else "NO")
    console.print(table)
    for missed in [result for result in results if result.tried and not result.reached]:
        console.print(f"{missed.name}: {missed.tried}", markup=False)
    if results_file := os.environ.get(RESULTS_FILE_VARIABLE):
        with Path(results_file).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(result)) + "\n" for result in results)


def read_shown(path: Path) -> list[BenchmarkResult]:
    """Return the results that `show` appended to a file."""
    return [BenchmarkResult(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def append(results: Sequence[BenchmarkResult], *, command: str, path: Path = RESULTS) -> None:
    """Save results with the day, the machine and the command; they replace earlier results of the same names."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    provenance = {"measured_on": datetime.now(UTC).date().isoformat(), "machine": _machine(), "command": command}
    by_name = {row["name"]: row for row in earlier}
    by_name |= {result.name: {**asdict(result), **provenance} for result in results}
    text = json.dumps(list(by_name.values()), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{len(os.sched_getaffinity(0))} cores, {memory / _GIB:.0f} GiB"
