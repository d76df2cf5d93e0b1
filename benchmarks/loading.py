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
from dev.stack.plan import Wishes
from dev.stack.up import Extent, up
from etl.db import connection as warehouses
from etl.settings import Endpoint

SIZES, QUICK_SIZES = (200_000, 1_000_000), (100_000,)
REPETITIONS = {200_000: 5, 1_000_000: 1}
OF_THE_LIMIT = 0.45
"""Least rows per second, as a share of the limit's."""
TWO_LOADERS = 1.6
"""Least that two loaders are faster than one."""

_LIMIT, _ONE, _TWO = "limit", "one_loader", "two_loaders"
_READY = (
    "copy (select t.* from core.transactions as t order by t.provider_account_id, md5(t.transaction_id)) "
    "to stdout (format csv)"
)
_PIECE = 1 << 20

Seconds = Mapping[str, Sequence[float]]
"""Side → seconds of each repetition."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Small and once; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    results: list[Result] = []
    with home.temporary() as folder, loaders.started(1) as one, loaders.started(2) as two:
        stack = up(folder, extent=Extent.SERVERS, caller=home.caller(), wishes=Wishes(ui=None), say=console.print)
        server = Endpoint.from_environment("warehouse", stack.environment)
        for size in QUICK_SIZES if quick else SIZES:
            files = folder.parent / str(size)
            files.mkdir()
            seconds = _of_size(
                size, 1 if quick else REPETITIONS[size], (one, two), server=server, files=files, console=console
            )
            shutil.rmtree(files)
            results += _results(size, seconds)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.loading")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _of_size(
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
    with chunks.prepared(server, root, size) as raw_ids:
        _write_ready(ready, raw_ids, sides[1], server=server, root=root)
        for repetition in range(repetitions):
            with chunks.fresh(server) as database:
                seconds[_LIMIT].append(_copy(ready, database))
            for name, side in zip((_ONE, _TWO), sides, strict=True):
                with chunks.fresh(server) as database:
                    seconds[name].append(side.seconds(raw_ids, database=database, root=root))
            shown = ", ".join(f"{name} {each[-1]:.1f} s" for name, each in seconds.items())
            console.print(f"{size:,} records: {repetition + 1} of {repetitions}: {shown}")
    return seconds


def _write_ready(path: Path, raw_ids: Sequence[int], side: Loaders, *, server: Endpoint, root: UPath) -> None:
    """Write the rows as they are once loaded, in an order as random within each login as the one they come in."""
    with chunks.fresh(server) as database:
        side.seconds(raw_ids, database=database, root=root)
        with (
            path.open("wb") as file,
            warehouses.connect(database) as warehouse,
            warehouse.cursor() as cursor,
            cursor.copy(_READY) as copy,
        ):
            file.writelines(copy)


def _copy(ready: Path, database: Endpoint) -> float:
    """Return how long Postgres takes for ready rows."""
    with warehouses.connect(database) as warehouse, warehouse.cursor() as cursor, ready.open("rb") as file:
        began = time.perf_counter()
        with cursor.copy("copy core.transactions from stdin (format csv)") as copy:
            while piece := file.read(_PIECE):
                copy.write(piece)
        return time.perf_counter() - began


def _results(size: int, seconds: Seconds) -> Iterator[Result]:
    share = Spread.of([limit / one for limit, one in zip(seconds[_LIMIT], seconds[_ONE], strict=True)])
    faster = Spread.of([one / two for one, two in zip(seconds[_ONE], seconds[_TWO], strict=True)])
    detail = {
        **{f"seconds_{side}": [round(each, 2) for each in found] for side, found in seconds.items()},
        **{f"rows_per_second_{side}": round(size / Spread.of(found).median) for side, found in seconds.items()},
    }
    name = f"transform and load of {size:,} transactions"
    yield Result(
        f"{name}, rows/s",
        f">= {OF_THE_LIMIT} x those of COPY of ready rows",
        f"{share} x",
        share.median >= OF_THE_LIMIT,
        detail,
        tried.OF_THE_LIMIT,
    )
    yield Result(
        f"{name}, two loaders side by side",
        f">= {TWO_LOADERS} x as fast as one",
        f"{faster} x",
        faster.median >= TWO_LOADERS,
        detail,
        tried.TWO_LOADERS,
    )


if __name__ == "__main__":
    typer.run(main)
