"""`python -m benchmarks [NAME…]`: all benchmarks, one after the other, and one table of what they found.

With QUICK=1 all are small, nothing is kept, and a goal that is missed says little; else it gives exit code 1. One that
ends without a result does so in either case.
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
from benchmarks.support.result import Result

ALL = (
    "planning",
    "loading",
    "beside_dlt",
    "growth",
    "resync",
    "download",
    "urgent",
    "airflow",
    "pace",
    "notices",
)
"""Files of this folder, those that are soonest done first; `memory` and `backfill` can be asked for by their names."""
QUICK = ("planning", "loading", "beside_dlt", "growth", "resync", "download", "memory", "urgent")
"""Those that are done within eight minutes, even small."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Some of them; all if not given.")] = None,
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Smaller; nothing is kept.")] = False,
) -> None:
    """Run benchmarks, each a process of its own, and show all results at the end."""
    console = Console(soft_wrap=True)
    results: list[Result] = []
    silent: list[str] = []
    began = time.monotonic()
    for name in names or (QUICK if quick else ALL):
        console.rule(name)
        found = _found(name, quick=quick, console=console)
        results += found
        silent += [] if found else [name]
    console.rule(f"all of it, in {(time.monotonic() - began) / 60:.0f} min")
    result.show(results, console)
    if silent:
        console.print(f"No result: {', '.join(silent)}")
    missed = [each for each in results if not each.reached]
    sys.exit(1 if silent or (missed and not quick) else 0)


def _found(name: str, *, quick: bool, console: Console) -> list[Result]:
    """Run one benchmark and return its results."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "shown"
        told.touch()
        run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            env={**os.environ, "QUICK": "1" if quick else "0", result.RESULTS_FILE_VARIABLE: str(told)},
            check=False,
        )
        console.print(f"{name} took {time.monotonic() - began:.0f} s.")
        return result.read_shown(told)


if __name__ == "__main__":
    typer.run(main)
