"""`python -m benchmarks.airflow`: the overhead of Airflow, against bare Dags, no Airflow, and the bank's rate limit.

All measurements use one stack, as in production, and a bank with prepared answers. Compared sides alternate:

- start: the time from Airflow's start of a task to the first line of its code, with a Dag file that builds the Dags of
  all entities and with the imports of all steps, against a bare file of one Dag;
- orchestration: CPU-seconds of Airflow's programs per task, in a run of eight nearly empty chunks, without those of the
  steps themselves, against as many no-op tasks;
- a whole run of 1,000,000 transactions in eight chunks, against the same steps in a pool of two processes; and a run
  whose many requests reach the bank's rate limit, against the time that this limit prescribes for them;
- the duration of the scheduler's loop during the largest allowed run.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.support import baseline_no_airflow, canned_bank, canned_logins, known_limits, result, stack_at_work
from benchmarks.support.canned_bank import Shape
from benchmarks.support.result import BenchmarkResult, Spread
from benchmarks.support.stack_at_work import MeasuredStack
from dev.demo.syncs import dag_id_of
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.db.connection import connect_warehouse
from etl.declare.provider import LimitScope
from etl.settings import Settings
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.report import totals

CHUNKS = 8
LOGINS = CHUNKS * TRANSACTIONS.chunk_size
UNLIMITED_RUN = Shape(LOGINS, pages=1, records=2_500)
"""Its requests are too few to reach the rate limit."""
LIMITED_RUN = Shape(2 * LOGINS, pages=10, records=125)
"""A login has as many pages as the limit per login lets it read in one burst."""
SMALLEST_RUN = Shape(LOGINS, pages=1, records=1)
WIDEST_RUN = Shape(TRANSACTIONS.max_chunks * TRANSACTIONS.chunk_size, pages=1, records=1)
REPETITIONS = 2

MAX_START_RATIO, MAX_CPU_RATIO, MAX_RUN_RATIO, MAX_PACE_RATIO = 1.15, 1.2, 1.7, 1.05
"""Upper bounds, as a multiple of the baseline."""
MAX_LOOP_SECONDS = 1.5
"""Upper bound of the duration of the scheduler's loop, in seconds."""

_DAG = dag_id_of(TRANSACTIONS)
BARE_START, BARE_RUN, SLUICE_START = "bare_start", "bare_run", "sluice_start"
"""Dags in the folder `dags` beside this file."""
_IDLE_SECONDS, _BUSY_SECONDS = 10.0, 30.0
_START_SECONDS = (
    "select x.value::text::float - extract(epoch from t.start_date)::float from xcom as x "
    "inner join task_instance as t using (dag_id, run_id, task_id, map_index) "
    "where x.dag_id = %s and x.run_id = %s and x.key = 'return_value'"
)
_INSTANCES = "select count(*) from task_instance where dag_id = %s and run_id = %s"
_UNDER_WAY = "select count(*) from task_instance where state in ('queued', 'running')"


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use small sizes, once; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    repetitions = 1 if quick else REPETITIONS
    with stack_at_work.running(console=console) as work:
        for dag_id in (_DAG, BARE_START, BARE_RUN, SLUICE_START):
            work.airflow.wait_for_dag(dag_id)
        _warm_up(work)
        results = [_compare_starts(work, 2 * repetitions), _compare_orchestration(work, repetitions, console=console)]
        for shape in (UNLIMITED_RUN, LIMITED_RUN):
            compare = _compare_run if shape is UNLIMITED_RUN else _compare_limited_run
            results.append(compare(work, _smaller(shape) if quick else shape, repetitions, console=console))
        results += _compare_loops(work, replace(WIDEST_RUN, logins=1_000) if quick else WIDEST_RUN)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.airflow")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _smaller(shape: Shape) -> Shape:
    return replace(shape, records=shape.records // 10, pages=max(shape.pages // 5, 1))


def _warm_up(work: MeasuredStack) -> None:
    """Run everything once, since the first tasks of new workers are slower."""
    for dag_id in (BARE_START, BARE_RUN, SLUICE_START):
        work.airflow.unpause(dag_id)
        work.wait_for_success(dag_id, work.airflow.trigger(dag_id))
    _enrol(work, 1)
    with canned_bank.running(replace(SMALLEST_RUN, logins=1), port=work.bank_port):
        work.wait_for_success(_DAG, work.airflow.start_run(_DAG))


def _compare_starts(work: MeasuredStack, repetitions: int) -> BenchmarkResult:
    """Compare how long tasks take to reach the first line of their code."""
    seconds_by_dag: dict[str, list[float]] = {BARE_START: [], SLUICE_START: []}
    for _ in range(repetitions):
        for dag_id, seconds in seconds_by_dag.items():
            run = work.airflow.trigger(dag_id)
            work.wait_for_success(dag_id, run)
            seconds += [float(each) for (each,) in work.query_metadata(_START_SECONDS, dag_id, run.run_id)]
    bare, ours = (Spread.of(seconds) for seconds in seconds_by_dag.values())
    ratio = ours.median / bare.median
    return BenchmarkResult(
        "start of a task: Dag file and imports of its step",
        f"<= {MAX_START_RATIO} x a bare Dag's",
        f"{ratio:.3g} x",
        ratio <= MAX_START_RATIO,
        {"seconds_bare": str(bare), "seconds": str(ours)},
    )


def _compare_orchestration(work: MeasuredStack, repetitions: int, *, console: Console) -> BenchmarkResult:
    """Compare the CPU time that Airflow's programs spend per task."""
    bare, ours = [], []
    before = work.cpu_seconds()
    list(work.loop_seconds(_IDLE_SECONDS))
    idle = (work.cpu_seconds() - before) / _IDLE_SECONDS
    _enrol(work, SMALLEST_RUN.logins)
    with canned_bank.running(SMALLEST_RUN, port=work.bank_port):
        steps = baseline_no_airflow.run("steps alone", work.stack.environment).cpu
        for _ in range(repetitions):
            bare.append(_cpu_seconds_per_task(work, BARE_RUN, idle))
            _reset_cursors(work)
            ours.append(_cpu_seconds_per_task(work, _DAG, idle, without=steps))
            console.print(f"CPU-seconds per task: bare {bare[-1]:.2f}, ours {ours[-1]:.2f}")
    ratio = Spread.of([one / other for one, other in zip(ours, bare, strict=True)])
    return BenchmarkResult(
        f"orchestration of a run of {CHUNKS} chunks: CPU-seconds of a task, without its step",
        f"<= {MAX_CPU_RATIO} x a bare task's",
        f"{ratio} x",
        ratio.median <= MAX_CPU_RATIO,
        {"cpu_seconds_bare": str(Spread.of(bare)), "cpu_seconds": str(Spread.of(ours)), "cpu_seconds_idle": idle},
        known_limits.ORCHESTRATION,
    )


def _cpu_seconds_per_task(work: MeasuredStack, dag_id: str, idle: float, *, without: float = 0.0) -> float:
    """Return the CPU-seconds per task of a run, minus those of the idle stack and minus `without`."""
    before = work.cpu_seconds()
    run = work.airflow.trigger(dag_id)
    seconds = work.run_seconds(dag_id, run)
    spent = work.cpu_seconds() - before - idle * seconds - without
    ((instances,),) = work.query_metadata(_INSTANCES, dag_id, run.run_id)
    return spent / int(instances)


def _compare_run(work: MeasuredStack, shape: Shape, repetitions: int, *, console: Console) -> BenchmarkResult:
    """Compare a run through Airflow with the same steps in a pool of processes."""
    pairs = []
    with canned_bank.running(shape, port=work.bank_port):
        for repetition in range(repetitions):
            _enrol(work, shape.logins)
            alone = baseline_no_airflow.run(f"alone {repetition}", work.stack.environment).seconds
            _enrol(work, shape.logins)
            run = _run_seconds(work, shape)
            pairs.append((alone, run))
            console.print(f"{shape.transactions:,} transactions: {alone:.1f} s in a pool, {run:.1f} s through Airflow")
    ratio = Spread.of([run / alone for alone, run in pairs])
    return BenchmarkResult(
        f"a run of {shape.transactions:,} transactions in {CHUNKS} chunks",
        f"<= {MAX_RUN_RATIO} x the same steps in a pool of {baseline_no_airflow.PROCESSES} processes",
        f"{ratio} x",
        ratio.median <= MAX_RUN_RATIO,
        {"seconds_in_a_pool_and_through_airflow": [[round(each, 1) for each in pair] for pair in pairs]},
        known_limits.WHOLE_RUN,
    )


def _compare_limited_run(work: MeasuredStack, shape: Shape, _: int, *, console: Console) -> BenchmarkResult:
    """Compare a run with the shortest time that the bank's rate limit allows; once, since nothing else affects it."""
    (limit,) = (each for each in TRANSACTIONS_SYNC.limits if each.scope is LimitScope.CLIENT)
    requests = shape.logins * shape.pages
    minimum = requests * limit.per.total_seconds() / limit.calls
    _enrol(work, shape.logins)
    with canned_bank.running(shape, port=work.bank_port):
        seconds = _run_seconds(work, shape)
    console.print(f"{requests:,} requests: {minimum:.1f} s by the limit, {seconds:.1f} s through Airflow")
    return BenchmarkResult(
        f"a run of {shape.transactions:,} transactions in {requests:,} requests, {limit.calls:,} a minute",
        f"<= {MAX_PACE_RATIO} x requests / limit",
        f"{seconds / minimum:.3g} x",
        seconds / minimum <= MAX_PACE_RATIO,
        {"seconds": round(seconds, 1), "seconds_by_the_limit": round(minimum, 1), "burst": limit.burst},
        known_limits.LIMITED_RUN,
    )


def _compare_loops(work: MeasuredStack, shape: Shape) -> Iterator[BenchmarkResult]:
    """Measure the scheduler's loop during a large run, and while the scheduler is idle."""
    idle = work.loop_seconds(_IDLE_SECONDS)
    _enrol(work, shape.logins)
    with canned_bank.running(shape, port=work.bank_port):
        run = work.airflow.trigger(_DAG)
        while not work.query_metadata(_INSTANCES + " and map_index > 0 and task_id like '%%load'", _DAG, run.run_id)[0][
            0
        ]:
            work.loop_seconds(1)
        busy = work.loop_seconds(_BUSY_SECONDS)
        work.airflow.fail_run(_DAG, run.run_id)
        while work.query_metadata(_UNDER_WAY)[0][0]:
            work.loop_seconds(1)
    chunks = min(-(-shape.logins // TRANSACTIONS.chunk_size), TRANSACTIONS.max_chunks)
    slowest = statistics.quantiles(busy, n=20)[-1]
    yield BenchmarkResult(
        f"a pass of the scheduler's loop while a run of {chunks} chunks is under way, p95",
        f"<= {MAX_LOOP_SECONDS} s",
        f"{slowest:.2f} s",
        slowest <= MAX_LOOP_SECONDS,
        {"seconds": str(Spread.of(busy)), "seconds_idle": str(Spread.of(idle)), "passes": len(busy)},
        known_limits.SCHEDULER_LOOP,
    )


def _run_seconds(work: MeasuredStack, shape: Shape) -> float:
    """Return the seconds of a run that reads everything the bank serves."""
    run = work.airflow.trigger(_DAG)
    seconds = work.run_seconds(_DAG, run)
    with connect_warehouse(work.stack.environment) as db:
        counts = totals(TRANSACTIONS, run.run_id, db=db)
    if counts["inserted"] != shape.transactions:
        sys.exit(f"error: the run counted {counts}, not {shape.transactions:,} inserted transactions")
    return seconds


def _enrol(work: MeasuredStack, logins: int) -> None:
    environment = work.stack.environment
    with connect_warehouse(environment) as db:
        canned_logins.enrol(db, TokenCipher(Settings.from_environment(environment).keys), logins)


def _reset_cursors(work: MeasuredStack) -> None:
    """Reset all cursors, so that the next run reads all feeds from their beginning."""
    with connect_warehouse(work.stack.environment) as db:
        db.execute("update etl.cursors set value = ''")


if __name__ == "__main__":
    typer.run(main)
