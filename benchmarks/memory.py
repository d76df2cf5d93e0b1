"""`python -m benchmarks.memory`: the most memory of each step, however many transactions one chunk carries.

Through Airflow and its Celery workers, as in production: a sandbox bank serves made-up purchases, all of which are one
chunk of transactions, and merchants are read from its raw batch. Everything is started afresh for each size. A task
process that has done nothing yet, with pandas and pyarrow loaded, has some 200 MiB.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.support import home, purchases, result
from benchmarks.support.result import Result
from benchmarks.support.task_memory import MIB, TaskMemory
from dev.demo.airflow_api import AirflowApi, AirflowSilent, DagRun
from dev.demo.enrol import enrol
from dev.demo.syncs import dag_of
from dev.servers.bank import Sandbox
from dev.servers.purchases import examine
from dev.stack.airflow_environment import ADMIN
from dev.stack.plan import Wishes
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db import connection as warehouse
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.sync.report import totals

SIZES = (100_000, 1_000_000)
QUICK_SIZES = (10_000, 50_000)
CAP = 450
"""MiB of one task process."""
GROWTH = 10
"""Most per cent that a step may grow from the small chunk to the large one."""

_DAY = date(2026, 1, 1)
_LONGEST_RUN = timedelta(minutes=30)
_POLL = timedelta(seconds=1)

Peaks = Mapping[str, int]
"""Step, `dag.task` → bytes."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Smaller; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    sizes = QUICK_SIZES if quick else SIZES
    small, large = (_peaks(size, console=console) for size in sizes)
    results = _results(small, large, sizes)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.memory")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _peaks(size: int, *, console: Console) -> Peaks:
    """Let so many purchases arrive as one chunk, and return the peak of each step."""
    with home.temporary() as folder:
        file = folder.parent / "purchases.csv"
        purchases.write(file, size, until=_DAY)
        stack = up(
            folder,
            caller=home.caller(),
            wishes=Wishes(
                Sandbox("benchmarks", opened=_DAY - purchases.SPAN, day=_DAY, purchases=examine(file)), ui=None
            ),
            say=console.print,
        )
        enrol(purchases.DIRECTORATES, environment=stack.environment)
        with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow, TaskMemory() as memory:
            read = _sync(airflow, stack, console=console)
        if read != size:
            sys.exit(f"error: the chunk carried {read:,} transactions, not {size:,}")
        return memory.peaks(stack.metadata_url)


def _sync(airflow: AirflowApi, stack: Stack, *, console: Console) -> int:
    """Run transactions, then merchants, which follow them, and return how many transactions were read."""
    for entity in (TRANSACTIONS, MERCHANTS):
        airflow.wait_for_dag(dag_of(entity))
    known = airflow.unpause(dag_of(MERCHANTS))
    read = _finish(TRANSACTIONS, airflow.start_run(dag_of(TRANSACTIONS)), airflow, stack, console=console)
    _finish(MERCHANTS, airflow.wait_for_new_run(dag_of(MERCHANTS), known), airflow, stack, console=console)
    return read


def _finish(entity: Entity, run: DagRun, airflow: AirflowApi, stack: Stack, *, console: Console) -> int:
    """Wait until a run has succeeded, as one chunk, and return how many records it read."""
    began = time.monotonic()
    while (state := airflow.run(dag_of(entity), run.run_id).state) not in ("success", "failed"):
        if time.monotonic() - began > _LONGEST_RUN.total_seconds():
            raise AirflowSilent(f"the end of {dag_of(entity)}", _LONGEST_RUN.total_seconds())
        time.sleep(_POLL.total_seconds())
    with warehouse.connect(Endpoint.from_environment("warehouse", stack.environment)) as connection:
        counts = totals(entity, run.run_id, warehouse=connection)
    console.print(f"{dag_of(entity)}: {state} after {time.monotonic() - began:.0f} s, {counts}")
    if state != "success" or counts["chunks"] != 1:
        sys.exit(f"error: {dag_of(entity)}, run {run.run_id}: {state}, {counts['chunks']} chunks instead of one")
    return counts["read"]


def _results(small: Peaks, large: Peaks, sizes: tuple[int, int]) -> list[Result]:
    results = []
    for step, peak in large.items():
        before = small[step]
        growth = 100 * (peak - before) / before
        detail = {
            f"vmhwm_mib_{size}": round(of_size / MIB, 1) for size, of_size in zip(sizes, (before, peak), strict=True)
        }
        name = f"{step}, one chunk of {sizes[1]:,} transactions"
        results += [
            Result(f"{name}: memory", f"< {CAP} MiB", f"{peak / MIB:.0f} MiB", peak < CAP * MIB, detail),
            Result(f"{name}: growth from {sizes[0]:,}", f"<= {GROWTH} %", f"{growth:.1f} %", growth <= GROWTH, detail),
        ]
    return results


if __name__ == "__main__":
    typer.run(main)
