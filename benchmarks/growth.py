"""`python -m benchmarks.growth`: how cost grows with the rows of a chunk, and with the number of chunks.

One process, a new one for each measurement, transforms and loads: first a single chunk of more and more transactions,
then a fixed number of transactions in more and more chunks.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from upath import UPath

from benchmarks.support import chunks, home, known_limits, loaders, result
from benchmarks.support.chunks import TRANSACTIONS_OF_A_LOGIN
from benchmarks.support.result import BenchmarkResult
from benchmarks.support.task_memory import MIB
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.settings import Endpoint

SIZES, QUICK_SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000), (10_000, 50_000)
CHUNK_COUNTS, QUICK_CHUNK_COUNTS = (1, 4, 16, 64, 256), (1, 4)
CHUNKED_SIZE, QUICK_CHUNKED_SIZE = 256_000, 16_000
"""Transactions that are divided into chunks."""
MAX_GROWTH_PERCENT = 10.0
"""Upper bound of memory growth in per cent, from 100,000 transactions, which fill all buffers, to the largest chunk."""
MAX_SLOWDOWN = 2.0
"""Upper bound of the time for the most chunks, as a multiple of the time for one."""

_BASELINE_SIZE = 100_000


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use small sizes; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    sizes, chunk_counts, chunked_size = (
        (QUICK_SIZES, QUICK_CHUNK_COUNTS, QUICK_CHUNKED_SIZE) if quick else (SIZES, CHUNK_COUNTS, CHUNKED_SIZE)
    )
    with home.temporary() as folder:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(ui_port=None),
            say=console.print,
        )
        server = Endpoint.from_environment("warehouse", stack.environment)
        root = folder.parent / "raw"
        by_rows = {size: _measure(size, 1, server=server, root=root, console=console) for size in sizes}
        by_chunks = {
            count: _measure(chunked_size, count, server=server, root=root, console=console) for count in chunk_counts
        }
    results = [_memory_result(by_rows), _speed_result(by_chunks, chunked_size)]
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.growth")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure(size: int, count: int, *, server: Endpoint, root: Path, console: Console) -> tuple[float, int]:
    """Return rows per second, and the peak memory of the process in bytes."""
    raw_root = UPath(root.as_uri())
    logins = size // TRANSACTIONS_OF_A_LOGIN // count
    with (
        loaders.running(1) as loader,
        chunks.template_database(server, raw_root, size, logins_of_a_chunk=logins) as raw_ids,
        chunks.fresh_database(server) as database,
    ):
        speed = size / loader.measure(raw_ids, database=database, root=raw_root).seconds
        peak = loader.peak_memory()
    shutil.rmtree(root)
    console.print(f"{size:,} transactions in {len(raw_ids)} chunks: {speed:,.0f} rows/s, {peak / MIB:.0f} MiB")
    return speed, peak


def _detail(measurements: Mapping[int, tuple[float, int]]) -> dict[str, object]:
    return {
        "rows_per_second": {str(size): round(speed) for size, (speed, _) in measurements.items()},
        "vmhwm_mib": {str(size): round(peak / MIB, 1) for size, (_, peak) in measurements.items()},
    }


def _memory_result(measurements: Mapping[int, tuple[float, int]]) -> BenchmarkResult:
    largest = max(measurements)
    baseline = measurements.get(_BASELINE_SIZE, measurements[min(measurements)])[1]
    growth = 100 * (measurements[largest][1] - baseline) / baseline
    name = f"one chunk of up to {largest:,} transactions: memory of transform and load, growth from {_BASELINE_SIZE:,}"
    return BenchmarkResult(
        name, f"<= {MAX_GROWTH_PERCENT:g} %", f"{growth:.1f} %", growth <= MAX_GROWTH_PERCENT, _detail(measurements)
    )


def _speed_result(measurements: Mapping[int, tuple[float, int]], size: int) -> BenchmarkResult:
    slowdown = measurements[min(measurements)][0] / measurements[max(measurements)][0]
    name = f"{size:,} transactions in {max(measurements)} chunks: transform and load, beside one chunk"
    return BenchmarkResult(
        name,
        f"<= {MAX_SLOWDOWN:g} x as long",
        f"{slowdown:.2f} x",
        slowdown <= MAX_SLOWDOWN,
        _detail(measurements),
        known_limits.MANY_CHUNKS,
    )


if __name__ == "__main__":
    typer.run(main)
