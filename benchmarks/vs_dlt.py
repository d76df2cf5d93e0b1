"""`python -m benchmarks.vs_dlt`: the same transactions loaded into the same Postgres by Sluice and by dlt.

Sluice transforms and loads sealed raw batches into the core table with its key, indexes and references, in one process
and in two parallel ones. dlt runs a pipeline on a file of the same pages, into a table that it creates, and into one
that was given the same key, indexes and references; see `peers/dlt_load.py`. Both sides start from the provider's JSON
and end with typed rows, merged by key; imports are not measured on either side. In each repetition every side loads
once, in turn, each into a new database.

By default Sluice uses one worker per processor, since a run is divided into chunks, and dlt one normalizing process and
twenty loading threads. Tuned, dlt gets Arrow tables whose columns msgspec has typed, and copies them as Parquet by
ADBC.
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
from benchmarks.support import chunks, databases, home, known_limits, loaders, result
from benchmarks.support.result import BenchmarkResult, Spread
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.db.statements import SQL_ROOT
from etl.settings import Endpoint

SIZE, QUICK_SIZE = 200_000, 20_000
REPETITIONS = 2
MIN_DEFAULT_RATIO, MIN_TUNED_RATIO = 12.0, 2.0
"""Lower bounds of Sluice's speed, as multiples of dlt's: with default settings, and tuned by somebody who knows it."""

_ONE, _TWO = "sluice_one_process", "sluice_two_processes"
_DLT_VARIANTS = (
    ("insert_values", "made"),
    ("csv", "made"),
    ("arrow", "made"),
    ("tuned", "made"),
    ("insert_values", "keyed"),
    ("tuned", "keyed"),
)
"""Variant of dlt (see `peers/dlt_load.py`), and the table that it loads into, as a key of `_TABLES`."""
_TABLES = {"made": "a table that dlt makes", "keyed": "a table with the same key, indexes and references"}
_REFERENCES = tuple(SQL_ROOT / "schema" / f"{name}.sql" for name in ("0012_references", "0014_reference_names"))
_PROGRAM = Path(__file__).parent / "peers" / "dlt_load.py"

Seconds = Mapping[str, Sequence[float]]
"""Side → seconds of each repetition."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use a small size, once; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
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
        _write_pages(pages, size)
        root = UPath((folder.parent / "raw").as_uri())
        seconds: dict[str, list[float]] = defaultdict(list)
        with chunks.template_database(server, root, size) as raw_ids:
            with chunks.fresh_database(server) as database:
                two.measure(raw_ids, database=database, root=root)  # the first load after the server's start is slower
            for repetition in range(1 if quick else REPETITIONS):
                for side, ours in ((_ONE, one), (_TWO, two)):
                    with chunks.fresh_database(server) as database:
                        seconds[side].append(ours.measure(raw_ids, database=database, root=root).seconds)
                for variant, table in _DLT_VARIANTS:
                    with databases.temporary(server, "peer") as database:
                        seconds[f"{variant}_{table}"].append(_run_dlt(pages, variant, table, size, database))
                summary = ", ".join(f"{side} {times[-1]:.1f} s" for side, times in seconds.items())
                console.print(f"{size:,} records: {repetition + 1}: {summary}")
    results = list(_results(size, seconds))
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.vs_dlt")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _write_pages(path: Path, size: int) -> None:
    """Write all pages to a file, one per line, each preceded by the number of its login and a tab."""
    pages_of_login = chunks.pages(size)
    with path.open("wb") as file:
        for login in range(size // chunks.TRANSACTIONS_OF_A_LOGIN):
            file.writelines(b"%d\t%b\n" % (login + 1, page) for page in pages_of_login(login))


def _run_dlt(pages: Path, variant: str, table: str, size: int, database: Endpoint) -> float:
    """Return the seconds that dlt takes to load the pages of a file."""
    url = f"postgresql://{database.login}:{database.password}@{database.host}:{database.port}/{database.schema}"
    process = run([interpreter(), _PROGRAM, pages, variant, table, url, *_REFERENCES], check=True, stdout=PIPE)
    report = json.loads(process.stdout.splitlines()[-1])
    if report["rows"] != size:
        sys.exit(f"error: dlt loaded {report['rows']:,} rows, not {size:,}")
    return float(report["seconds"])


def _results(size: int, seconds: Seconds) -> Iterator[BenchmarkResult]:
    detail = {
        **{f"seconds_{side}": [round(each, 2) for each in times] for side, times in seconds.items()},
        **{f"rows_per_second_{side}": round(size / Spread.of(times).median) for side, times in seconds.items()},
    }
    for table, table_label in _TABLES.items():
        default, tuned = f"insert_values_{table}", f"tuned_{table}"
        comparisons = (
            ("dlt as it comes, two processes of Sluice", default, _TWO, MIN_DEFAULT_RATIO),
            ("dlt as it comes, one process of Sluice", default, _ONE, None),
            ("dlt tuned, two processes of Sluice", tuned, _TWO, MIN_TUNED_RATIO),
            ("dlt tuned, one process of Sluice", tuned, _ONE, None),
        )
        for label, theirs, ours, goal in comparisons:
            speedup = Spread.of([their / our for our, their in zip(seconds[ours], seconds[theirs], strict=True)])
            yield BenchmarkResult(
                f"transform and load of {size:,} transactions, beside dlt: {label}, into {table_label}",
                "none" if goal is None else f">= {goal:g} x as fast",
                f"{speedup} x",
                goal is None or speedup.median >= goal,
                detail,
                known_limits.VS_DLT,
            )


if __name__ == "__main__":
    typer.run(main)
