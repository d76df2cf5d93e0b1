"""`python -m benchmarks.table_size`: what loads, plans, audiences and maintenance cost as the tables grow.

Each size is a database of its own that has loaded a feed for a month. In each repetition every kind of load concerns
other fifty logins, whatever the size. FULL=1 adds the largest size, whose database takes a quarter of an hour to fill
and 30 GB.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from upath import UPath

from benchmarks.support import databases, home, result
from benchmarks.support.grown_steps import STEPS, Steps
from benchmarks.support.grown_warehouse import OBSERVED_AT, ROWS_OF_A_LOGIN, GrownWarehouse
from benchmarks.support.load_cost import wal_position
from benchmarks.support.loaders import session_cpu_seconds
from benchmarks.support.pages_touched import count_pages
from benchmarks.support.result import BenchmarkResult, Spread
from dev.servers.postgres import SETTINGS
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.catalog.entities import ENTITIES
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.notices import NOTICES
from etl.db import migrations
from etl.db.connection import Connection, connect
from etl.notify import estimate
from etl.notify.store import recipients
from etl.settings import Endpoint
from etl.sync.plan import plan
from etl.sync.store.status import entity_status

SIZES, QUICK_SIZES = (1_000_000, 10_000_000), (20_000, 200_000)
FULL_SIZE = 40_000_000
REPETITIONS = 3
LOGINS_OF_A_BATCH, QUICK_LOGINS_OF_A_BATCH = 50, 5
PAGE_SIZE = 500
"""Recipients of a page."""
INCREMENT = "a daily increment"
MAX_TIME_GROWTH, MAX_WAL_GROWTH = 1.2, 1.5
"""Upper bounds of the time and of the write-ahead log of a daily increment, as multiples of those at the least size."""
MAX_PAGES_GROWTH = 2.0
"""Upper bound of the pages that a load touches, as a multiple: the indexes are a level deeper."""

# Maintenance runs before the measurement, and must not during it.
_SETTINGS = {**SETTINGS, "autovacuum": "off", "wal_compression": "on", "maintenance_work_mem": "1GB"}


class Cost(NamedTuple):
    """What a step took.

    Parameters
    ----------
    seconds
        Wall time.
    cpu_seconds
        Processor time of the session in Postgres.
    wal_bytes
        Bytes that it added to the write-ahead log.
    pages
        Pages of tables and indexes that it read, from memory or disk.
    """

    seconds: float
    cpu_seconds: float
    wal_bytes: int
    pages: int


Costs = Mapping[str, Sequence[Cost]]
"""Step → its cost in each repetition."""
_SIZE = """
select sum(pg_total_relation_size(t.relid))
from pg_partition_tree('core.transactions') as t
where t.isleaf
"""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use small sizes; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    sizes = QUICK_SIZES if quick else (*SIZES, FULL_SIZE) if os.environ.get("FULL") else SIZES
    with home.temporary() as folder:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(ui_port=None, postgres_settings=_SETTINGS),
            say=console.print,
        )
        server = Endpoint.from_environment("warehouse", stack.environment)
        batch = QUICK_LOGINS_OF_A_BATCH if quick else LOGINS_OF_A_BATCH
        root = folder.parent / "raw"
        bytes_of_row: dict[int, float] = {}
        costs = {size: _measure(size, batch, bytes_of_row, server=server, root=root, console=console) for size in sizes}
    results = [*_results(costs), _disk(bytes_of_row)]
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.table_size")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure(
    size: int, batch: int, bytes_of_row: dict[int, float], *, server: Endpoint, root: Path, console: Console
) -> Costs:
    """Return what the steps cost at a size, with so many logins in each batch, and store the disk space of a row."""
    costs: dict[str, list[Cost]] = defaultdict(list)
    with databases.temporary(server, "grown") as database, connect(database) as db:
        began = time.monotonic()
        migrations.migrate(db, ENTITIES)
        GrownWarehouse(db, size // ROWS_OF_A_LOGIN).fill()
        for statement in ("vacuum (analyze)", "checkpoint"):
            db.execute(statement)
        ((table_bytes,),) = db.execute(_SIZE).fetchall()
        bytes_of_row[size] = round(table_bytes / size)
        console.print(f"{size:,} rows: filled in {time.monotonic() - began:.0f} s")
        for repetition in range(REPETITIONS):
            first = 1 + repetition * batch
            for name, step in (
                *Steps(db, UPath(root.as_uri()), range(first, first + batch)).all(),
                *_other_steps(db, repetition),
            ):
                costs[name].append(_measure_step(db, step))
    shutil.rmtree(root)
    for name, taken in costs.items():
        console.print(f"{size:,} rows: {name}: {Spread.of([cost.seconds for cost in taken])} s")
    return costs


def _other_steps(db: Connection, repetition: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what concerns all logins, or an audience."""
    now = OBSERVED_AT + timedelta(days=1)
    yield "plan of a run", lambda: plan(TRANSACTIONS, f"plan {repetition}", db=db)
    yield "status of all entities", lambda: [entity_status(db, entity, as_of=now) for entity in ENTITIES]
    for notice in NOTICES:
        run = estimate.find_or_draft_run(notice, now.strftime(notice.period), as_of=now, db=db)
        yield f"bounds of {notice.name}", partial(recipients.count, db, run)
        page = partial(recipients.read_page, db, notice, run, after=0, stop=2**62, limit=PAGE_SIZE)
        yield f"a page of {notice.name}", page


def _measure_step(db: Connection, step: Callable[[], object]) -> Cost:
    """Return the cost of a step right after a checkpoint, when it writes most to the log."""
    db.execute("checkpoint")
    wal, cpu, began = wal_position(db), session_cpu_seconds(db), time.perf_counter()
    pages = count_pages(db, step)
    seconds = time.perf_counter() - began
    return Cost(seconds, session_cpu_seconds(db) - cpu, wal_position(db) - wal, pages.total())


def _results(costs: Mapping[int, Costs]) -> Iterator[BenchmarkResult]:
    smallest, largest = costs[min(costs)], costs[max(costs)]
    sizes = f"{max(costs):,} rows beside {min(costs):,}"
    for name in largest:
        detail = {
            f"{field}_{size}": [round(getattr(cost, field), 4) for cost in taken[name]]
            for size, taken in costs.items()
            for field in Cost._fields
        }
        measures = [("time", "seconds", MAX_TIME_GROWTH), ("log", "wal_bytes", MAX_WAL_GROWTH)]
        goals: list[tuple[str, str, float | None]] = [*measures] if name == INCREMENT else [("time", "seconds", None)]
        if name in STEPS:
            goals.append(("pages", "pages", MAX_PAGES_GROWTH))
        for label, field, goal in goals:
            growth = _median(largest[name], field) / max(_median(smallest[name], field), 1e-9)
            yield BenchmarkResult(
                f"{name}, {sizes}: {label}",
                "none" if goal is None else f"<= {goal:g} x",
                f"{growth:.2f} x",
                goal is None or growth <= goal,
                detail,
            )


def _disk(bytes_of_row: Mapping[int, float]) -> BenchmarkResult:
    largest = max(bytes_of_row)
    detail = {str(size): row_bytes for size, row_bytes in bytes_of_row.items()}
    name = f"disk of a row of core.transactions with its indexes, {largest:,} rows"
    return BenchmarkResult(name, "none", f"{bytes_of_row[largest]} bytes", reached=True, detail=detail)


def _median(costs: Sequence[Cost], field: str) -> float:
    return Spread.of([getattr(cost, field) for cost in costs]).median


if __name__ == "__main__":
    typer.run(main)
