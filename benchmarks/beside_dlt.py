"""`python -m benchmarks.beside_dlt`: the same transactions into the same Postgres, by Sluice and by dlt.

Sluice: transform and load of sealed raw batches into the core table with its key, indexes and references, by one
process and by two side by side. dlt: a pipeline run from a file of the same pages, into a table that it makes, and into
one that was given the same key, indexes and references; see `peers/dlt_load.py`. Both begin with JSON as sent and end
with typed rows that were merged by their key; the imports of neither count. Each repetition lets every side load once,
in turns, each into a new database.

As it comes, Sluice has a worker for each processor, since a run is cut into chunks, and dlt one process that normalizes
and twenty threads that load.
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

from benchmarks.peers.interpreter import interpreter
from benchmarks.support import chunks, databases, home, loaders, result, tried
from benchmarks.support.result import Result, Spread
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.db.statements import SQL_ROOT
from etl.settings import Endpoint

SIZE, QUICK_SIZE = 200_000, 20_000
REPETITIONS = 2
MIN_DEFAULT_RATIO, MIN_BEST_RATIO = 8.0, 3.0
"""Least that Sluice is faster than dlt, each as it comes, and than dlt's fastest way."""

_ONE, _TWO = "sluice_one_process", "sluice_two_processes"
_DLT_VARIANTS = (
    ("insert_values", "made"),
    ("csv", "made"),
    ("arrow", "made"),
    ("insert_values", "keyed"),
    ("arrow", "keyed"),
)
"""How dlt is handed the records, and what table they go into."""
_TABLES = {"made": "a table that dlt makes", "keyed": "a table with the same key, indexes and references"}
_REFERENCES = SQL_ROOT / "schema" / "0012_references.sql"
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
    with home.temporary() as folder, loaders.running(1) as one, loaders.running(2) as two:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(ui_port=None),
            say=console.print,
        )
        server = Endpoint.from_environment("warehouse", stack.environment)
        pages = folder.parent / "pages"
        _write(pages, size)
        root = UPath((folder.parent / "raw").as_uri())
        seconds: dict[str, list[float]] = defaultdict(list)
        with chunks.template_database(server, root, size) as raw_ids:
            with chunks.fresh_database(server) as database:
                two.measure(raw_ids, database=database, root=root)  # the first load after the server's start is slower
            for repetition in range(1 if quick else REPETITIONS):
                for side, ours in ((_ONE, one), (_TWO, two)):
                    with chunks.fresh_database(server) as database:
                        seconds[side].append(ours.measure(raw_ids, database=database, root=root))
                for how, table in _DLT_VARIANTS:
                    with databases.temporary(server, "peer") as database:
                        seconds[f"{how}_{table}"].append(_run_dlt(pages, how, table, size, database))
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


def _run_dlt(pages: Path, how: str, table: str, size: int, database: Endpoint) -> float:
    """Return how long dlt takes for the pages of a file."""
    url = f"postgresql://{database.login}:{database.password}@{database.host}:{database.port}/{database.schema}"
    done = run([interpreter(), _PROGRAM, pages, how, table, url, _REFERENCES], check=True, stdout=PIPE)
    told = json.loads(done.stdout.splitlines()[-1])
    if told["rows"] != size:
        sys.exit(f"error: dlt has loaded {told['rows']:,} rows, not {size:,}")
    return float(told["seconds"])


def _results(size: int, seconds: Seconds) -> Iterator[Result]:
    detail = {
        **{f"seconds_{side}": [round(each, 2) for each in found] for side, found in seconds.items()},
        **{f"rows_per_second_{side}": round(size / Spread.of(found).median) for side, found in seconds.items()},
    }
    for table, where in _TABLES.items():
        ways = [f"{how}_{each}" for how, each in _DLT_VARIANTS if each == table]
        best = min(ways, key=lambda way: Spread.of(seconds[way]).median)
        default = f"insert_values_{table}"
        sides = (
            ("each as it comes", default, _TWO, MIN_DEFAULT_RATIO),
            (f"dlt at its best ({best.removesuffix(f'_{table}')}), two processes each", best, _TWO, MIN_BEST_RATIO),
            ("dlt as it comes, one process of Sluice", default, _ONE, None),
        )
        for how, theirs, ours, goal in sides:
            faster = Spread.of([their / our for our, their in zip(seconds[ours], seconds[theirs], strict=True)])
            yield Result(
                f"transform and load of {size:,} transactions, beside dlt: {how}, into {where}",
                "none" if goal is None else f">= {goal:g} x as fast",
                f"{faster} x",
                goal is None or faster.median >= goal,
                detail,
                tried.VS_DLT,
            )


if __name__ == "__main__":
    typer.run(main)
