"""`python -m benchmarks.beside_dlt`: the same transactions into the same Postgres, by Sluice and by dlt.

Sluice: transform and load of sealed raw batches, by one process, into the core table with its key, indexes and
references. dlt: a pipeline run from a file of the same pages, into a table that it makes; see `peers/dlt_load.py`. Both
begin with JSON as sent and end with typed rows that were merged by their key; the imports of neither count. Each
repetition lets every side load once, in turns, each into a new database.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import PIPE, run
from typing import Annotated

import typer
from rich.console import Console
from upath import UPath

from benchmarks import chunks, databases, home, loaders, result
from benchmarks.peers.interpreter import interpreter
from benchmarks.result import Result, Spread
from dev.stack.planning import Wishes
from dev.stack.up import Extent, up
from etl.settings import Endpoint

SIZE, QUICK_SIZE = 200_000, 20_000
REPETITIONS = 2
GOALS = {"insert_values": 8.0, "csv": None, "arrow": None}
"""How dlt is handed the records → least that Sluice is faster."""
BEST = 3.0
"""Least that Sluice is faster than dlt's fastest way."""

_OURS = "sluice"
_PROGRAM = Path(__file__).parent / "peers" / "dlt_load.py"

Seconds = Mapping[str, Sequence[float]]
"""Side → seconds of each repetition."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Small and once; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    size = QUICK_SIZE if quick else SIZE
    with home.temporary() as folder, loaders.started(1) as ours:
        stack = up(folder, extent=Extent.SERVERS, caller=home.caller(), wishes=Wishes(ui=None), say=console.print)
        server = Endpoint.from_environment("warehouse", stack.environment)
        pages = folder.parent / "pages"
        _write(pages, size)
        root = UPath((folder.parent / "raw").as_uri())
        seconds: dict[str, list[float]] = defaultdict(list)
        with chunks.prepared(server, root, size) as raw_ids:
            for repetition in range(1 if quick else REPETITIONS):
                with chunks.fresh(server) as database:
                    seconds[_OURS].append(ours.seconds(raw_ids, database=database, root=root))
                for how in GOALS:
                    with databases.temporary(server, "peer") as database:
                        seconds[how].append(_by_dlt(pages, how, size, database))
                shown = ", ".join(f"{side} {found[-1]:.1f} s" for side, found in seconds.items())
                console.print(f"{size:,} records: {repetition + 1}: {shown}")
    results = list(_results(size, seconds))
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.beside_dlt")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _write(path: Path, size: int) -> None:
    """Write all pages to a file, one a line, each behind the number of its login."""
    told = chunks.pages(size)
    with path.open("wb") as file:
        for login in range(size // chunks.TRANSACTIONS_OF_A_LOGIN):
            file.writelines(b"%d\t%b\n" % (login + 1, page) for page in told(login))


def _by_dlt(pages: Path, how: str, size: int, database: Endpoint) -> float:
    """Return how long dlt takes for the pages of a file."""
    url = f"postgresql://{database.login}:{database.password}@{database.host}:{database.port}/{database.schema}"
    done = run([interpreter(), _PROGRAM, pages, how, url], check=True, stdout=PIPE)
    told = json.loads(done.stdout.splitlines()[-1])
    if told["rows"] != size:
        sys.exit(f"error: dlt has loaded {told['rows']:,} rows, not {size:,}")
    return float(told["seconds"])


def _results(size: int, seconds: Seconds) -> Iterator[Result]:
    faster = {
        how: Spread.of([theirs / ours for ours, theirs in zip(seconds[_OURS], seconds[how], strict=True)])
        for how in GOALS
    }
    detail = {
        **{f"seconds_{side}": [round(each, 2) for each in found] for side, found in seconds.items()},
        **{f"rows_per_second_{side}": round(size / Spread.of(found).median) for side, found in seconds.items()},
    }
    name = f"transform and load of {size:,} transactions"
    for how, goal in GOALS.items():
        if goal is not None:
            reached = faster[how].median >= goal
            yield Result(f"{name}, beside dlt, {how}", f">= {goal:g} x as fast", f"{faster[how]} x", reached, detail)
    best = min(GOALS, key=lambda how: faster[how].median)
    reached = faster[best].median >= BEST
    yield Result(f"{name}, beside dlt at its best", f">= {BEST:g} x as fast", f"{faster[best]} x", reached, detail)


if __name__ == "__main__":
    typer.run(main)
