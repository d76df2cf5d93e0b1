"""`python -m benchmarks.resync`: what loading known records once more costs, beside their first load.

By the steps alone, on a Postgres of its own with the settings of a stack that keeps its data, so that nobody else
writes to its log. Each repetition loads into a new database, everything first and then again: the sides alternate.
Before each load the database is analyzed and vacuumed, as it is by the next day's run, since whoever is the first to
read a row pays for its hint bits; and each load begins right after a checkpoint, when it costs most to log.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from upath import UPath

from benchmarks.support import databases, home, load_cost, repeated_batches, result, tried
from benchmarks.support.load_cost import LoadCost
from benchmarks.support.repeated_batches import RepeatedBatches
from benchmarks.support.result import Result, Spread
from dev.servers.postgres import SETTINGS
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.catalog.entities import ENTITIES
from etl.catalog.entities.merchants import MERCHANTS
from etl.db import migrations
from etl.db.connection import Connection, connect
from etl.settings import Endpoint

SIZES = (200_000, 1_000_000)
REPETITIONS = {200_000: 2, 1_000_000: 1}
MAX_ACCOUNTS = 200_000
"""They are half a million logins otherwise, and as long in the making as in all that is measured."""
MAX_WAL_PERCENT = 0.5
"""Most per cent of the first load's log."""
MAX_TIME_PERCENT = 50.0
"""Most per cent of the first load's time."""

# Tables are vacuumed before each measurement, so that it does not happen during one.
_SETTINGS = {**SETTINGS, "autovacuum": "off"}

_Costs = dict[str, list[tuple[LoadCost, LoadCost, int]]]
"""How records come again → for each repetition the first load, the next one, and rows that this touched."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Small and once; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    results: list[Result] = []
    with home.temporary() as folder:
        wishes = StackOptions(postgres_settings=_SETTINGS, ui_port=None)
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=wishes,
            say=console.print,
        )
        server = Endpoint.from_environment("warehouse", stack.environment)
        for size in (20_000,) if quick else SIZES:
            root = UPath((folder.parent / f"raw-{size}").as_uri())
            results += _measure_size(size, 1 if quick else REPETITIONS[size], server=server, root=root, console=console)
            shutil.rmtree(root.path)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.resync")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure_size(size: int, repetitions: int, *, server: Endpoint, root: UPath, console: Console) -> list[Result]:
    costs: dict[str, _Costs] = defaultdict(lambda: defaultdict(list))
    with databases.temporary(server, databases.TEMPLATE) as template:
        with connect(template) as db:
            migrations.migrate(db, [entity.name for entity in ENTITIES])
            batches = [*repeated_batches.seal_feeds(db, root, size)]
            if size <= MAX_ACCOUNTS:
                batches += repeated_batches.seal_snapshots(db, root, size)
        for repetition in range(repetitions):
            with (
                databases.temporary(server, "benchmark", template=databases.TEMPLATE) as database,
                connect(database) as db,
            ):
                for repeated in batches:
                    _measure(repeated, costs[repeated.entity.name], db=db, root=root)
            console.print(f"{size:,} records: {repetition + 1} of {repetitions} repetitions")
    return [each for name, found in costs.items() for each in _results(name, size, found)]


def _measure(repeated: RepeatedBatches, costs: _Costs, *, db: Connection, root: UPath) -> None:
    entity = repeated.entity
    first = load_cost.measure_load(entity, repeated.first_raw_id, db=db, root=root)
    for how, raw_id in repeated.repeated_raw_ids.items():
        db.execute("update etl.cursors set value = ''")
        again = load_cost.measure_load(entity, raw_id, db=db, root=root)
        touched = load_cost.count_touched_rows(entity, repeated.first_raw_id, db=db)
        costs[how].append((first, again, touched))


def _results(entity: str, size: int, costs: Mapping[str, Sequence[tuple[LoadCost, LoadCost, int]]]) -> Iterator[Result]:
    reason = tried.MERCHANTS_RESYNC if entity == MERCHANTS.name else tried.RESYNC
    for how, loads in costs.items():
        name = f"{entity} {how}, {size:,} records"
        detail = {
            "seconds": [[round(first.seconds, 3), round(again.seconds, 3)] for first, again, _ in loads],
            "logged_bytes": [[first.wal_bytes, again.wal_bytes] for first, again, _ in loads],
        }
        logged = Spread.of([100 * again.wal_bytes / first.wal_bytes for first, again, _ in loads])
        seconds = Spread.of([100 * again.seconds / first.seconds for first, again, _ in loads])
        rows = max(touched for _, _, touched in loads)
        yield Result(
            f"{name}: log", f"<= {MAX_WAL_PERCENT} %", f"{logged} %", logged.median <= MAX_WAL_PERCENT, detail, reason
        )
        yield Result(
            f"{name}: time",
            f"<= {MAX_TIME_PERCENT:.0f} %",
            f"{seconds} %",
            seconds.median <= MAX_TIME_PERCENT,
            detail,
            reason,
        )
        yield Result(f"{name}: rows written or locked", "0", str(rows), rows == 0)


if __name__ == "__main__":
    typer.run(main)
