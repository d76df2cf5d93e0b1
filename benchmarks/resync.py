"""`python -m benchmarks.resync`: the cost of loading the same records again, against their first load.

Only the steps run, on a separate Postgres with the settings of a stack that keeps its data, so that nothing else writes
to its log. Each repetition uses a new database, in which first loads and repeated loads alternate. Before each load the
database is analyzed and vacuumed, as it is before the next day's run, since the first reader of a row has to set its
hint bits. Each load begins right after a checkpoint, when it writes most to the log.
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

from benchmarks.support import databases, home, known_limits, load_cost, repeated_batches, result
from benchmarks.support.load_cost import LoadCost
from benchmarks.support.repeated_batches import RepeatedBatches
from benchmarks.support.result import BenchmarkResult, Spread
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
"""Upper bound for accounts: a million would need half a million logins, whose setup takes as long as all else here."""
MAX_WAL_PERCENT = 0.5
"""Upper bound of the write-ahead log, in per cent of the first load's."""
MAX_TIME_PERCENT = 50.0
"""Upper bound of the time, in per cent of the first load's."""

# Tables are vacuumed before each measurement, and must not be during one.
_SETTINGS = {**SETTINGS, "autovacuum": "off"}

_Costs = dict[str, list[tuple[LoadCost, LoadCost, int]]]
"""Kind of repeated batch → per repetition the first load, the repeated load, and the rows that the latter touched."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use a small size, once; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    results: list[BenchmarkResult] = []
    with home.temporary() as folder:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(postgres_settings=_SETTINGS, ui_port=None),
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


def _measure_size(
    size: int, repetitions: int, *, server: Endpoint, root: UPath, console: Console
) -> list[BenchmarkResult]:
    costs: dict[str, _Costs] = defaultdict(lambda: defaultdict(list))
    with databases.temporary(server, databases.TEMPLATE) as template:
        with connect(template) as db:
            migrations.migrate(db, ENTITIES)
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
    return [each for name, entity_costs in costs.items() for each in _results(name, size, entity_costs)]


def _measure(repeated: RepeatedBatches, costs: _Costs, *, db: Connection, root: UPath) -> None:
    entity = repeated.entity
    first = load_cost.measure_load(entity, repeated.first_raw_id, db=db, root=root)
    for kind, raw_id in repeated.repeated_raw_ids.items():
        db.execute("update etl.cursors set value = ''")
        repeat = load_cost.measure_load(entity, raw_id, db=db, root=root)
        touched = load_cost.count_touched_rows(entity, repeated.first_raw_id, db=db)
        costs[kind].append((first, repeat, touched))


def _results(
    entity: str, size: int, costs: Mapping[str, Sequence[tuple[LoadCost, LoadCost, int]]]
) -> Iterator[BenchmarkResult]:
    reason = known_limits.MERCHANTS_RESYNC if entity == MERCHANTS.name else known_limits.RESYNC
    for kind, loads in costs.items():
        name = f"{entity} {kind}, {size:,} records"
        detail = {
            "seconds": [[round(first.seconds, 3), round(repeat.seconds, 3)] for first, repeat, _ in loads],
            "logged_bytes": [[first.wal_bytes, repeat.wal_bytes] for first, repeat, _ in loads],
        }
        wal = Spread.of([100 * repeat.wal_bytes / first.wal_bytes for first, repeat, _ in loads])
        seconds = Spread.of([100 * repeat.seconds / first.seconds for first, repeat, _ in loads])
        rows = max(touched for _, _, touched in loads)
        yield BenchmarkResult(
            f"{name}: log", f"<= {MAX_WAL_PERCENT} %", f"{wal} %", wal.median <= MAX_WAL_PERCENT, detail, reason
        )
        yield BenchmarkResult(
            f"{name}: time",
            f"<= {MAX_TIME_PERCENT:.0f} %",
            f"{seconds} %",
            seconds.median <= MAX_TIME_PERCENT,
            detail,
            reason,
        )
        yield BenchmarkResult(f"{name}: rows written or locked", "0", str(rows), rows == 0)


if __name__ == "__main__":
    typer.run(main)
