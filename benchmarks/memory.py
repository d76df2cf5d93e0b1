"""`python -m benchmarks.memory`: the peak memory of each step, and whether it depends on the size of the chunk.

Runs through Airflow and its Celery workers, as in production: a sandbox bank serves generated purchases, all of which
form one chunk of transactions, and merchants are read from its raw batch. Everything is started anew for each size. An
idle task process, with pandas and pyarrow loaded, uses about 200 MiB.
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
from benchmarks.support.result import BenchmarkResult
from benchmarks.support.task_memory import MIB, TaskMemory
from dev.demo.airflow_api import AirflowApi, AirflowTimeout, DagRun
from dev.demo.enrol import enrol
from dev.demo.syncs import dag_id_of
from dev.servers.bank import Sandbox
from dev.servers.purchases import inspect_source
from dev.stack.airflow_environment import ADMIN
from dev.stack.plan import StackOptions
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import connect_warehouse
from etl.declare.entity import Entity
from etl.sync.report import totals

SIZES = (100_000, 1_000_000)
QUICK_SIZES = (10_000, 50_000)
MAX_MIB = 450
"""Upper bound of the memory of one task process, in MiB."""
MAX_GROWTH_PERCENT = 10
"""Upper bound of the growth of a step from the small chunk to the large one, in per cent."""

_DAY = date(2026, 1, 1)
_MAX_RUN_TIME = timedelta(minutes=30)
_POLL = timedelta(seconds=1)

Peaks = Mapping[str, int]
"""Step, as `dag.task` → peak memory in bytes."""


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use small sizes; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    sizes = QUICK_SIZES if quick else SIZES
    small, large = (_measure_peaks(size, console=console) for size in sizes)
    results = _results(small, large, sizes)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.memory")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure_peaks(size: int, *, console: Console) -> Peaks:
    """Sync `size` purchases as one chunk, and return the peak memory of each step."""
    with home.temporary() as folder:
        file = folder.parent / "purchases.csv"
        purchases.write(file, size, until=_DAY)
        stack = up(
            folder,
            caller_environment=home.caller_environment(),
            options=StackOptions(
                Sandbox("benchmarks", opened=_DAY - purchases.SPAN, day=_DAY, purchases=inspect_source(file)),
                ui_port=None,
            ),
            say=console.print,
        )
        enrol(purchases.DIRECTORATES, environment=stack.environment)
        with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow, TaskMemory() as memory:
            records_read = _sync_dags(airflow, stack, console=console)
        if records_read != size:
            sys.exit(f"error: the chunk held {records_read:,} transactions, not {size:,}")
        return memory.peaks(stack.metadata_url)


def _sync_dags(airflow: AirflowApi, stack: Stack, *, console: Console) -> int:
    """Sync transactions, then merchants, whose run follows, and return how many transactions were read."""
    for entity in (TRANSACTIONS, MERCHANTS):
        airflow.wait_for_dag(dag_id_of(entity))
    earlier_run_ids = airflow.unpause(dag_id_of(MERCHANTS))
    run = airflow.start_run(dag_id_of(TRANSACTIONS))
    records_read = _wait_for_run(TRANSACTIONS, run, airflow, stack, console=console)
    following_run = airflow.wait_for_new_run(dag_id_of(MERCHANTS), earlier_run_ids)
    _wait_for_run(MERCHANTS, following_run, airflow, stack, console=console)
    return records_read


def _wait_for_run(entity: Entity, run: DagRun, airflow: AirflowApi, stack: Stack, *, console: Console) -> int:
    """Wait until a run has succeeded with one chunk, and return how many records it read."""
    began = time.monotonic()
    while (state := airflow.get_run(dag_id_of(entity), run.run_id).state) not in ("success", "failed"):
        if time.monotonic() - began > _MAX_RUN_TIME.total_seconds():
            raise AirflowTimeout(f"the end of {dag_id_of(entity)}", _MAX_RUN_TIME.total_seconds())
        time.sleep(_POLL.total_seconds())
    with connect_warehouse(stack.environment) as db:
        counts = totals(entity, run.run_id, db=db)
    console.print(f"{dag_id_of(entity)}: {state} after {time.monotonic() - began:.0f} s, {counts}")
    if state != "success" or counts["chunks"] != 1:
        sys.exit(f"error: {dag_id_of(entity)}, run {run.run_id}: {state}, {counts['chunks']} chunks instead of one")
    return counts["read"]


def _results(small: Peaks, large: Peaks, sizes: tuple[int, int]) -> list[BenchmarkResult]:
    results = []
    for step, peak in large.items():
        small_peak = small[step]
        growth = 100 * (peak - small_peak) / small_peak
        detail = {
            f"vmhwm_mib_{size}": round(size_peak / MIB, 1)
            for size, size_peak in zip(sizes, (small_peak, peak), strict=True)
        }
        name = f"{step}, one chunk of {sizes[1]:,} transactions"
        results += [
            BenchmarkResult(
                f"{name}: memory", f"< {MAX_MIB} MiB", f"{peak / MIB:.0f} MiB", peak < MAX_MIB * MIB, detail
            ),
            BenchmarkResult(
                f"{name}: growth from {sizes[0]:,}",
                f"<= {MAX_GROWTH_PERCENT} %",
                f"{growth:.1f} %",
                growth <= MAX_GROWTH_PERCENT,
                detail,
            ),
        ]
    return results


if __name__ == "__main__":
    typer.run(main)
