"""`python -m benchmarks.loading`: how fast raw batches become rows of the core table.

The upper bound is Postgres itself with the same rows: `COPY` of prepared, typed CSV into the same table, with its
partitions, indexes and references. Only the steps run, without Airflow, on a separate Postgres with the settings of a
stack that keeps its data. Each repetition measures all sides in turn, each in a new database that holds the sealed raw
batches.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from upath import UPath

from benchmarks.support import chunks, home, known_limits, loaders, result
from benchmarks.support.loaders import Loaders
from benchmarks.support.result import BenchmarkResult, Spread
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.db.connection import connect
from etl.settings import Endpoint

SIZES, QUICK_SIZES = (200_000, 1_000_000), (100_000,)
REPETITIONS = {200_000: 5, 1_000_000: 1}
MIN_SHARE_OF_COPY = 0.45
"""Lower bound of rows per second, as a share of `COPY`'s."""
MIN_SPEEDUP = 1.6
"""Lower bound of the speed of two loaders, as a multiple of the speed of one."""

_COPY, _ONE, _TWO = "limit", "one_loader", "two_loaders"
_COPY_OUT = (
    "copy (select t.* from core.transactions as t order by t.provider_account_id, md5(t.transaction_id)) "
    "to stdout (format csv)"
)
_COPY_BLOCK_BYTES = 1 << 20

Seconds = Mapping[str, Sequence[float]]
"""Side → seconds of each repetition."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use a small size, once; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    results: list[BenchmarkResult] = []
    with home.temporary() as folder, loaders.running(1) as one, loaders.running(2) as two:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(ui_port=None),
            say=console.print,
        )
        server = Endpoint.from_environment("warehouse", stack.environment)
        for size in QUICK_SIZES if quick else SIZES:
            files = folder.parent / str(size)
            files.mkdir()
            seconds = _measure_size(
                size, 1 if quick else REPETITIONS[size], (one, two), server=server, files=files, console=console
            )
            shutil.rmtree(files)
            results += _results(size, seconds)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.loading")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure_size(
    size: int,
    repetitions: int,
    sides: tuple[Loaders, Loaders],
    *,
    server: Endpoint,
    files: Path,
    console: Console,
) -> Seconds:
    root = UPath((files / "raw").as_uri())
    csv_path = files / "ready.csv"
    seconds: dict[str, list[float]] = defaultdict(list)
    with chunks.template_database(server, root, size) as raw_ids:
        _write_csv(csv_path, raw_ids, sides[1], server=server, root=root)
        for repetition in range(repetitions):
            with chunks.fresh_database(server) as database:
                seconds[_COPY].append(_copy_in(csv_path, database))
            for name, side in zip((_ONE, _TWO), sides, strict=True):
                with chunks.fresh_database(server) as database:
                    seconds[name].append(side.measure(raw_ids, database=database, root=root))
            summary = ", ".join(f"{name} {times[-1]:.1f} s" for name, times in seconds.items())
            console.print(f"{size:,} records: {repetition + 1} of {repetitions}: {summary}")
    return seconds


def _write_csv(path: Path, raw_ids: Sequence[int], side: Loaders, *, server: Endpoint, root: UPath) -> None:
    """Write the loaded rows as CSV, in random order within each login, as pages have them."""
    with chunks.fresh_database(server) as database:
        side.measure(raw_ids, database=database, root=root)
        with (
            path.open("wb") as file,
            connect(database) as db,
            db.cursor() as cursor,
            cursor.copy(_COPY_OUT) as copy,
        ):
            file.writelines(copy)


def _copy_in(csv_path: Path, database: Endpoint) -> float:
    """Return the seconds that Postgres takes to copy prepared rows."""
    with connect(database) as db, db.cursor() as cursor, csv_path.open("rb") as file:
        began = time.perf_counter()
        with cursor.copy("copy core.transactions from stdin (format csv)") as copy:
            while block := file.read(_COPY_BLOCK_BYTES):
                copy.write(block)
        return time.perf_counter() - began


def _results(size: int, seconds: Seconds) -> Iterator[BenchmarkResult]:
    share = Spread.of([copy / one for copy, one in zip(seconds[_COPY], seconds[_ONE], strict=True)])
    speedup = Spread.of([one / two for one, two in zip(seconds[_ONE], seconds[_TWO], strict=True)])
    detail = {
        **{f"seconds_{side}": [round(each, 2) for each in times] for side, times in seconds.items()},
        **{f"rows_per_second_{side}": round(size / Spread.of(times).median) for side, times in seconds.items()},
    }
    name = f"transform and load of {size:,} transactions"
    yield BenchmarkResult(
        f"{name}, rows/s",
        f">= {MIN_SHARE_OF_COPY} x those of COPY of ready rows",
        f"{share} x",
        share.median >= MIN_SHARE_OF_COPY,
        detail,
        known_limits.SHARE_OF_COPY,
    )
    yield BenchmarkResult(
        f"{name}, two loaders side by side",
        f">= {MIN_SPEEDUP} x as fast as one",
        f"{speedup} x",
        speedup.median >= MIN_SPEEDUP,
        detail,
        known_limits.SECOND_LOADER,
    )


if __name__ == "__main__":
    typer.run(main)
