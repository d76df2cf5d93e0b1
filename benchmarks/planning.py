"""`python -m benchmarks.planning`: how long it takes to divide provider accounts into chunks, by their number.

Only the step `plan` runs, on a separate Postgres. All accounts belong to one user, since the plan does not depend on
users. Before each measurement the table is vacuumed and analyzed, as autovacuum would do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.support import databases, home, result
from benchmarks.support.result import BenchmarkResult, Spread
from benchmarks.support.task_memory import MIB
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.catalog.entities import ENTITIES
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db import migrations
from etl.db.connection import Connection, connect
from etl.settings import Endpoint
from etl.sync.plan import plan

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000, 10_000_000), (10_000, 100_000)
REPETITIONS = 3
MAX_SECONDS = 5.0
"""Upper bound of the seconds for the largest number of accounts."""
MAX_GROWTH_PERCENT = 10.0
"""Upper bound of the growth of the planning process's memory from the smallest size to the largest, in per cent."""

_INSERT_USER = "insert into core.users (reference) values ('benchmark') returning user_id"
_INSERT_ACCOUNTS = """
insert into core.provider_accounts (user_id, provider, item_id, access_token)
select %(user_id)s, 'plaid', 'item-' || n, ''
from generate_series(%(first)s::bigint, %(last)s::bigint) as n
"""
_SELF = Path("/proc/self")


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use small sizes; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    with home.temporary() as folder:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(ui_port=None),
            say=console.print,
        )
        server = Endpoint.from_environment("warehouse", stack.environment)
        with databases.temporary(server, "benchmark") as database, connect(database) as db:
            migrations.migrate(db, ENTITIES)
            seconds, peaks = _measure(QUICK_SIZES if quick else SIZES, db, console=console)
    results = list(_results(seconds, peaks))
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.planning")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure(
    sizes: Sequence[int], db: Connection, *, console: Console
) -> tuple[dict[int, list[float]], dict[int, int]]:
    """Return the seconds of each plan, and the peak memory of this process in bytes, both by size."""
    seconds: dict[int, list[float]] = {}
    peaks: dict[int, int] = {}
    ((user_id,),) = db.execute(_INSERT_USER).fetchall()
    existing = 0
    plan(TRANSACTIONS, "first", db=db)  # fills Python's caches, so that they do not count as growth
    for size in sizes:
        db.execute(_INSERT_ACCOUNTS, {"user_id": user_id, "first": existing + 1, "last": size})
        db.execute("vacuum analyze core.provider_accounts")
        existing = size
        _reset_peak()
        seconds[size] = [_measure_plan(f"{size}-{ordinal}", db) for ordinal in range(REPETITIONS)]
        peaks[size] = _peak()
        console.print(f"{size:,} accounts: {Spread.of(seconds[size])} s, {peaks[size] / MIB:.1f} MiB")
    return seconds, peaks


def _measure_plan(run_id: str, db: Connection) -> float:
    began = time.perf_counter()
    ordinals = plan(TRANSACTIONS, run_id, db=db)
    seconds = time.perf_counter() - began
    if not ordinals:
        sys.exit("error: the plan has no chunks")
    return seconds


def _reset_peak() -> None:
    """Reset the peak memory of this process to its current memory (see proc(5), `clear_refs`)."""
    (_SELF / "clear_refs").write_text("5")


def _peak() -> int:
    """Return the peak memory of this process (VmHWM) in bytes."""
    lines = dict(line.split(":", 1) for line in (_SELF / "status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def _results(seconds: Mapping[int, Sequence[float]], peaks: Mapping[int, int]) -> Iterator[BenchmarkResult]:
    smallest, largest = min(seconds), max(seconds)
    detail = {
        "seconds": {str(size): round(Spread.of(times).median, 4) for size, times in seconds.items()},
        "vmhwm_mib": {str(size): round(peak / MIB, 2) for size, peak in peaks.items()},
    }
    largest_seconds = Spread.of(seconds[largest])
    growth = 100 * (peaks[largest] - peaks[smallest]) / peaks[smallest]
    name = f"plan of chunks over {largest:,} provider accounts"
    yield BenchmarkResult(
        name, f"<= {MAX_SECONDS:g} s", f"{largest_seconds} s", largest_seconds.median <= MAX_SECONDS, detail
    )
    memory_name = f"{name}: memory of Python, growth from {smallest:,}"
    yield BenchmarkResult(
        memory_name, f"<= {MAX_GROWTH_PERCENT:g} %", f"{growth:.1f} %", growth <= MAX_GROWTH_PERCENT, detail
    )


if __name__ == "__main__":
    typer.run(main)
