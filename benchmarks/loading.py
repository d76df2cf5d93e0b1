"""`python -m benchmarks.loading`: how fast raw batches become rows of the core table.

The limit is what Postgres itself takes for the same rows: `COPY` of ready, typed CSV into the same table, with its
partitions, indexes and references. By the steps alone, on a Postgres of its own with the settings of a stack that keeps
its data. Each repetition measures all sides, in turns, each in a new database that holds the sealed raw batches.
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

from benchmarks.support import chunks, home, loaders, result, tried
from benchmarks.support.loaders import Loaders
from benchmarks.support.result import Result, Spread
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.db.connection import connect
from etl.settings import Endpoint

SIZES, QUICK_SIZES = (200_000, 1_000_000), (100_000,)
REPETITIONS = {200_000: 5, 1_000_000: 1}
MIN_SHARE_OF_COPY = 0.45
"""Least rows per second, as a share of the limit's."""
MIN_SPEEDUP = 1.6
"""Least that two loaders are faster than one."""

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
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Small and once; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    results: list[Result] = []
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
    ready = files / "ready.csv"
    seconds: dict[str, list[float]] = defaultdict(list)
    with chunks.template_database(server, root, size) as raw_ids:
        _write_csv(ready, raw_ids, sides[1], server=server, root=root)
        for repetition in range(repetitions):
            with chunks.fresh_database(server) as database:
                seconds[_COPY].append(_copy_in(ready, database))
            for name, side in zip((_ONE, _TWO), sides, strict=True):
                with chunks.fresh_database(server) as database:
                    seconds[name].append(side.measure(raw_ids, database=database, root=root))
            shown = ", ".join(f"{name} {each[-1]:.1f} s" for name, each in seconds.items())
            console.print(f"{size:,} records: {repetition + 1} of {repetitions}: {shown}")
    return seconds


def _write_csv(path: Path, raw_ids: Sequence[int], side: Loaders, *, server: Endpoint, root: UPath) -> None:
    """Write the rows as they are once loaded, in an order as random within each login as the one they come in."""
    with chunks.fresh_database(server) as database:
        side.measure(raw_ids, database=database, root=root)
        with (
            path.open("wb") as file,
            connect(database) as db,
            db.cursor() as cursor,
            cursor.copy(_COPY_OUT) as copy,
        ):
            file.writelines(copy)


def _copy_in(ready: Path, database: Endpoint) -> float:
    """Return how long Postgres takes for ready rows."""
    with connect(database) as db, db.cursor() as cursor, ready.open("rb") as file:
        began = time.perf_counter()
        with cursor.copy("copy core.transactions from stdin (format csv)") as copy:
            while piece := file.read(_COPY_BLOCK_BYTES):
                copy.write(piece)
        return time.perf_counter() - began


def _results(size: int, seconds: Seconds) -> Iterator[Result]:
    share = Spread.of([limit / one for limit, one in zip(seconds[_COPY], seconds[_ONE], strict=True)])
    faster = Spread.of([one / two for one, two in zip(seconds[_ONE], seconds[_TWO], strict=True)])
    detail = {
        **{f"seconds_{side}": [round(each, 2) for each in found] for side, found in seconds.items()},
        **{f"rows_per_second_{side}": round(size / Spread.of(found).median) for side, found in seconds.items()},
    }
    name = f"transform and load of {size:,} transactions"
    yield Result(
        f"{name}, rows/s",
        f">= {MIN_SHARE_OF_COPY} x those of COPY of ready rows",
        f"{share} x",
        share.median >= MIN_SHARE_OF_COPY,
        detail,
        tried.SHARE_OF_COPY,
    )
    yield Result(
        f"{name}, two loaders side by side",
        f">= {MIN_SPEEDUP} x as fast as one",
        f"{faster} x",
        faster.median >= MIN_SPEEDUP,
        detail,
        tried.SECOND_LOADER,
    )


if __name__ == "__main__":
    typer.run(main)
