"""`python -m benchmarks [NAME…]`: run all benchmarks in sequence and print one table of their results.

The exit code is 1 if a goal is missed or a benchmark ends without a result. With QUICK=1 the sizes are small, nothing
is saved, and a missed goal does not change the exit code, since it says little.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from subprocess import run
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.support import result
from benchmarks.support.result import BenchmarkResult

ALL = (
    "planning",
    "loading",
    "vs_dlt",
    "growth",
    "table_size",
    "resync",
    "download",
    "urgent",
    "airflow",
    "pace",
    "notices",
)
"""Files of this folder, the quickest first; `memory` and `backfill` run only if they are named."""
QUICK = ("planning", "loading", "vs_dlt", "growth", "table_size", "resync", "download", "memory", "urgent")
"""Benchmarks of a quick run, which takes at most eight minutes."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks to run; all if not given.")] = None,
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use small sizes; save nothing.")] = False,
) -> None:
    """Run each benchmark in its own process, and print all results at the end."""
    console = Console(soft_wrap=True)
    results: list[BenchmarkResult] = []
    without_result: list[str] = []
    began = time.monotonic()
    for name in names or (QUICK if quick else ALL):
        console.rule(name)
        benchmark_results = _run_benchmark(name, quick=quick, console=console)
        results += benchmark_results
        without_result += [] if benchmark_results else [name]
    console.rule(f"all benchmarks, in {(time.monotonic() - began) / 60:.0f} min")
    result.show(results, console)
    if without_result:
        console.print(f"No result: {', '.join(without_result)}")
    missed = [each for each in results if not each.reached]
    sys.exit(1 if without_result or (missed and not quick) else 0)


def _run_benchmark(name: str, *, quick: bool, console: Console) -> list[BenchmarkResult]:
    """Run one benchmark and return its results."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results_file = Path(folder) / "results"
        results_file.touch()
        run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            env={**os.environ, "QUICK": "1" if quick else "0", result.RESULTS_FILE_VARIABLE: str(results_file)},
            check=False,
        )
        console.print(f"{name} took {time.monotonic() - began:.0f} s.")
        return result.read_shown(results_file)


if __name__ == "__main__":
    typer.run(main)
