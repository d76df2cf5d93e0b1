"""`python -m benchmarks.loading`: how fast raw batches become rows of the core table.

The upper bounds are Postgres itself with the same rows, into the same table with its partitions, indexes and
references: `COPY` of prepared, typed CSV in random order, and `COPY` in binary of rows that are sorted by key, the
fastest way into a table that there is. Only the steps run, without Airflow, on a separate Postgres with the settings of
a stack that keeps its data. Each repetition measures all sides in turn, each in a new database that holds the sealed
raw batches.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from upath import UPath

from benchmarks.support import chunks, home, known_limits, loaders, result
from benchmarks.support.loaders import Effort, Loaders
from benchmarks.support.result import BenchmarkResult, Spread
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.db.connection import connect
from etl.settings import Endpoint


@dataclass(frozen=True)
class Shape:
    """Records that are loaded.

    Parameters
    ----------
    size
        How many.
    repetitions
        How often they are loaded.
    is_lean
        Whether they have only the fields that are read, and a few more; else all that Plaid documents.
    """

    size: int
    repetitions: int
    is_lean: bool = False

    def __str__(self) -> str:
        """Return what they are."""
        return f"{self.size:,} {'lean ' if self.is_lean else ''}transactions"


SHAPES = (Shape(200_000, 5), Shape(200_000, 3, is_lean=True), Shape(1_000_000, 1))
QUICK_SHAPES = (Shape(100_000, 1),)
MIN_SHARE_OF_CSV, MIN_SHARE_OF_BINARY = 0.45, 0.55
"""Lower bounds of rows per second, as shares of those of both limits."""
MIN_SPEEDUP = 1.6
"""Lower bound of the speed of two loaders, as a multiple of the speed of one."""

_CSV, _BINARY, _ONE, _TWO = "copy_csv", "copy_binary", "one_loader", "two_loaders"
_COPIES = {
    _CSV: ("t.provider_account_id, md5(t.transaction_id)", "csv"),
    _BINARY: ("t.provider_account_id, t.transaction_id", "binary"),
}
"""Side → order of the rows, and their format."""
_ROWS = "select t.* from core.transactions as t"
_BLOCK_BYTES = 1 << 20

Efforts = Mapping[str, Sequence[Effort]]
"""Side → what each repetition took."""


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
        for shape in QUICK_SHAPES if quick else SHAPES:
            files = folder.parent / "files"
            files.mkdir()
            efforts = _measure(shape, (one, two), server=server, files=files, console=console)
            shutil.rmtree(files)
            results += _results(shape, efforts)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.loading")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure(
    shape: Shape, sides: tuple[Loaders, Loaders], *, server: Endpoint, files: Path, console: Console
) -> Efforts:
    root = UPath((files / "raw").as_uri())
    efforts: dict[str, list[Effort]] = defaultdict(list)
    with chunks.template_database(server, root, shape.size, is_lean=shape.is_lean) as raw_ids:
        _write_rows(files, raw_ids, sides[1], server=server, root=root)
        for repetition in range(shape.repetitions):
            for name in _COPIES:
                with chunks.fresh_database(server) as database:
                    efforts[name].append(_copy_in(files / name, database))
            for name, side in zip((_ONE, _TWO), sides, strict=True):
                with chunks.fresh_database(server) as database:
                    efforts[name].append(side.measure(raw_ids, database=database, root=root))
            summary = ", ".join(f"{name} {taken[-1].seconds:.1f} s" for name, taken in efforts.items())
            console.print(f"{shape}: {repetition + 1} of {shape.repetitions}: {summary}")
    return efforts


def _write_rows(files: Path, raw_ids: Sequence[int], side: Loaders, *, server: Endpoint, root: UPath) -> None:
    """Write the loaded rows for each kind of copy: as CSV in random order within each login, as pages have them."""
    with chunks.fresh_database(server) as database:
        side.measure(raw_ids, database=database, root=root)
        with connect(database) as db:
            for name, (order, format_name) in _COPIES.items():
                query = f"copy ({_ROWS} order by {order}) to stdout (format {format_name})"
                with (files / name).open("wb") as file, db.cursor() as cursor, cursor.copy(query.encode()) as copy:
                    file.writelines(copy)


def _copy_in(path: Path, database: Endpoint) -> Effort:
    """Return what it takes Postgres to copy prepared rows."""
    _, format_name = _COPIES[path.name]
    with connect(database) as db, db.cursor() as cursor, path.open("rb") as file:
        began, cpu_began = time.perf_counter(), time.process_time()
        with cursor.copy(f"copy core.transactions from stdin (format {format_name})".encode()) as copy:
            while block := file.read(_BLOCK_BYTES):
                copy.write(block)
        seconds = time.perf_counter() - began
        return Effort(seconds, time.process_time() - cpu_began + loaders.session_cpu_seconds(db))


def _results(shape: Shape, efforts: Efforts) -> Iterator[BenchmarkResult]:
    detail = {
        **{f"seconds_{side}": [round(each.seconds, 2) for each in taken] for side, taken in efforts.items()},
        **{f"cpu_seconds_{side}": [round(each.cpu_seconds, 2) for each in taken] for side, taken in efforts.items()},
        **{
            f"rows_per_second_{side}": round(shape.size / Spread.of([each.seconds for each in taken]).median)
            for side, taken in efforts.items()
        },
    }
    name = f"transform and load of {shape}"
    for limit, goal, rows in (
        (_CSV, MIN_SHARE_OF_CSV, "ready rows as CSV"),
        (_BINARY, MIN_SHARE_OF_BINARY, "ready rows in binary, sorted"),
    ):
        share = _ratio(efforts, limit, _ONE)
        yield BenchmarkResult(
            f"{name}, rows/s beside COPY of {rows}",
            f">= {goal} x",
            f"{share} x",
            share.median >= goal,
            detail,
            known_limits.SHARE_OF_COPY,
        )
    speedup = _ratio(efforts, _ONE, _TWO)
    yield BenchmarkResult(
        f"{name}, two loaders side by side",
        f">= {MIN_SPEEDUP} x as fast as one",
        f"{speedup} x",
        speedup.median >= MIN_SPEEDUP,
        detail,
        known_limits.SECOND_LOADER,
    )


def _ratio(efforts: Efforts, one: str, other: str) -> Spread:
    """Return the seconds of one side, as a multiple of those of another in the same repetition."""
    return Spread.of([a.seconds / b.seconds for a, b in zip(efforts[one], efforts[other], strict=True)])


if __name__ == "__main__":
    typer.run(main)
