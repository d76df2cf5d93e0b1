"""`python -m benchmarks.notices [--users 1000000]`: the monthly report to many users, compared with plain Celery.

Runs through Airflow and its Celery workers, as in production, with a mail server that accepts everything. Each run is
verified: every recipient is in exactly one final state, and as many mails arrived as the ledger has in the state sent.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console

from benchmarks.support import audience, baseline_plain_celery, celery_workers, home, mail_sink, result, service_memory
from benchmarks.support.baseline_plain_celery import Pattern
from benchmarks.support.mail_sink import CONNECTION, MailSink
from benchmarks.support.result import BenchmarkResult
from benchmarks.support.service_memory import BrokerMemory
from benchmarks.support.task_memory import MIB, TaskMemory
from dev.demo.airflow_api import AirflowApi, AirflowTimeout
from dev.servers.bank import Sandbox
from dev.stack.airflow_environment import ADMIN
from dev.stack.plan import StackOptions
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.db.connection import Connection, connect_url, connect_warehouse
from etl.notify.store import runs

SMALL, LARGE, QUICK_SIZES = 10_000, 200_000, (2_000, 20_000)
"""Recipients of the small run and of the large one."""
CELERY_USERS, QUICK_CELERY_USERS = 10_000, 1_000
"""Users to whom plain Celery sends, in each pattern."""
MIN_MAILS_A_SECOND, MAX_PLAN_SECONDS, MAX_PLAN_GROWTH_MIB, MAX_BROKER_GROWTH_MIB, MAX_BROKER_SHARE, MIN_SPEEDUP = (
    2_000,
    5,
    10,
    1,
    0.01,
    5,
)
"""Goals: mails per second, seconds, MiB, MiB, and broker memory per user and speed, as multiples of plain Celery's."""

_DAG = f"notify_{MONTHLY_REPORT.name}"
_PACE = 100_000.0
_DAY = date(2026, 1, 1)
_MAX_WAIT = timedelta(hours=1)
_POLL = timedelta(milliseconds=200)
_PLAN_SECONDS = """
select extract(epoch from end_date - start_date)::float from task_instance
where dag_id = %s and run_id = %s and task_id = 'plan'
"""
_RUN_SECONDS = "select extract(epoch from end_date - start_date)::float from dag_run where dag_id = %s and run_id = %s"
_STATES = "select state::text, count(*) from notify.deliveries where run_id = %s group by 1"
_COUNT_REPEATED = "select count(*) - count(distinct user_id) from notify.deliveries where run_id = %s"
_SEND_SECONDS = """
select extract(epoch from max(ended_at) - min(claimed_at))::float from notify.deliveries where run_id = %s
"""


@dataclass(frozen=True)
class RunMeasurement:
    """Measurements of one run of the Dag.

    Parameters
    ----------
    users
        Number of recipients.
    plan_seconds, send_seconds, run_seconds
        Seconds of the task `plan`, from the first claim to the last confirmation, and of the whole run.
    page_seconds
        Seconds that it takes to read a page of a thousand recipients.
    peaks
        Step → peak memory (VmHWM) in bytes.
    broker_growth, scheduler_peak
        Growth of the broker's memory, and peak memory of the scheduler, in bytes.
    """

    users: int
    plan_seconds: float
    send_seconds: float
    run_seconds: float
    page_seconds: float
    peaks: dict[str, int]
    broker_growth: int
    scheduler_peak: int

    def peak(self, step: str) -> float:
        """Return the peak memory of a step in MiB."""
        return self.peaks[f"{_DAG}.{step}"] / MIB


def main(
    *,
    users: Annotated[int, typer.Option(help="Recipients of the large run.")] = LARGE,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Use small sizes; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    sizes, celery_users = (QUICK_SIZES, QUICK_CELERY_USERS) if quick else ((SMALL, users), CELERY_USERS)
    with home.temporary() as folder, mail_sink.fastest_sink(folder.parent) as sink:
        stack = up(
            folder,
            caller_environment=home.caller_environment(**{CONNECTION: sink.connection}, **audience.UNSUBSCRIBE),
            options=StackOptions(Sandbox("benchmarks", opened=_DAY, day=_DAY), ui_port=None),
            say=console.print,
        )
        with connect_warehouse(stack.environment) as db:
            small, large = _measure_runs(stack, db, sink, sizes, console=console)
            patterns = _measure_celery(stack, db, sink, folder.parent, users=celery_users, console=console)
    results = _results(small, large, patterns, sink)
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.notices")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _measure_runs(
    stack: Stack, db: Connection, sink: MailSink, sizes: tuple[int, int], *, console: Console
) -> list[RunMeasurement]:
    measurements = []
    with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow:
        airflow.wait_for_dag(_DAG)
        # The scheduled run ends before there are any users, so that it sends nothing.
        _wait_for_run(airflow, airflow.start_run(_DAG).run_id)
        for users, period in zip(sizes, (audience.MONTH_BEFORE, audience.MONTH), strict=True):
            audience.add_users(db, users, category=MONTHLY_REPORT.category.name)
            console.print(f"{users:,} users exist.")
            measurement = _measure_run(airflow, stack, db, sink, users=users, period=period)
            console.print(
                f"{users:,}: planned in {measurement.plan_seconds:.1f} s, sent in {measurement.send_seconds:.1f} s"
            )
            measurements.append(measurement)
    return measurements


def _measure_run(
    airflow: AirflowApi, stack: Stack, db: Connection, sink: MailSink, *, users: int, period: str
) -> RunMeasurement:
    """Send to all existing users through Airflow, as fast as possible, and verify the run."""
    earlier_mails = sink.count()
    with TaskMemory() as memory, BrokerMemory(stack.broker_url) as broker:
        run = airflow.trigger(_DAG, period=period)
        run_id = _wait_until_planned(db, period)
        runs.set_pace_or_state(db, run_id, pace=_PACE)
        _wait_for_run(airflow, run.run_id)
    _check_states(db, run_id, users, mails=sink.count() - earlier_mails)
    with connect_url(stack.metadata_url) as metadata:
        plan_seconds, run_seconds = (
            _query_number(metadata, query, _DAG, run.run_id) for query in (_PLAN_SECONDS, _RUN_SECONDS)
        )
    send_seconds = _query_number(db, _SEND_SECONDS, run_id)
    page_seconds = audience.page_cost(db, MONTHLY_REPORT, run_id, users)
    peaks = memory.peaks(stack.metadata_url)
    return RunMeasurement(
        users,
        plan_seconds,
        send_seconds,
        run_seconds,
        page_seconds,
        peaks,
        broker.growth,
        service_memory.scheduler_peak(stack),
    )


def _wait_until_planned(db: Connection, period: str) -> int:
    """Wait until a run of the period is planned, and return its id."""
    deadline = time.monotonic() + _MAX_WAIT.total_seconds()
    while (run := runs.find_by_period(db, MONTHLY_REPORT, period)) is None:
        if time.monotonic() > deadline:
            raise AirflowTimeout(f"the plan of {period}", _MAX_WAIT.total_seconds())
        time.sleep(_POLL.total_seconds())
    return run.run_id


def _wait_for_run(airflow: AirflowApi, run_id: str) -> None:
    deadline = time.monotonic() + _MAX_WAIT.total_seconds()
    while (state := airflow.get_run(_DAG, run_id).state) not in ("success", "failed"):
        if time.monotonic() > deadline:
            raise AirflowTimeout(f"the end of {run_id}", _MAX_WAIT.total_seconds())
        time.sleep(_POLL.total_seconds())
    if state != "success":
        sys.exit(f"error: {_DAG}, run {run_id}: {state}")


def _check_states(db: Connection, run_id: int, users: int, *, mails: int) -> None:
    """Exit with an error unless all recipients are in the expected states, all counts agree, and all mails arrived."""
    expected = audience.expected(users)
    states: dict[str, int] = dict(db.execute(_STATES, (run_id,)).fetchall())
    totals = runs.read_totals(db, run_id)
    checks = {
        "states in the ledger": (expected, {**states, "unreachable": totals["unreachable"]}),
        "totals of the chunks": (expected, {state: totals[state] for state in expected}),
        "recipients": (users, totals["recipients"]),
        "users with two deliveries": (0, _query_number(db, _COUNT_REPEATED, run_id)),
        "mails": (expected["sent"], mails),
    }
    if differences := {name: pair for name, pair in checks.items() if pair[0] != pair[1]}:
        sys.exit(f"error: run {run_id}: expected and actual values differ: {differences}")


def _query_number(db: psycopg.Connection[Any], query: str, *values: object) -> float:
    ((number,),) = db.execute(query.encode(), values).fetchall()
    return float(number)


def _measure_celery(
    stack: Stack, db: Connection, sink: MailSink, folder: Path, *, users: int, console: Console
) -> list[Pattern]:
    environment = celery_workers.environment(stack, sink)
    processes = MONTHLY_REPORT.queue.pool.slots
    patterns = baseline_plain_celery.measure(db, environment, sink, folder, users=users, processes=processes)
    for pattern in patterns:
        console.print(str(pattern))
    return patterns


def _results(
    small: RunMeasurement, large: RunMeasurement, patterns: list[Pattern], sink: MailSink
) -> list[BenchmarkResult]:
    per_user, *_ = patterns
    pace, growth = large.users / large.send_seconds, large.peak("plan") - small.peak("plan")
    broker = large.broker_growth / MIB
    share = large.broker_growth / large.users / (max(per_user.broker_growth, 1) / per_user.users)
    detail = {
        "mail_server": sink.program,
        "seconds_sending": round(large.send_seconds, 1),
        "seconds_whole_run": round(large.run_seconds, 1),
        "users_a_second_whole_run": round(large.users / large.run_seconds),
        "milliseconds_to_read_a_page_of_1000": round(1000 * large.page_seconds, 1),
        "vmhwm_mib_send": round(large.peak("send")),
        "vmhwm_mib_scheduler": round(large.scheduler_peak / MIB),
        "vmhwm_mib_plan": [round(measurement.peak("plan"), 1) for measurement in (small, large)],
        "without_sluice": [str(pattern) for pattern in patterns],
    }
    name = f"monthly report to {large.users:,}"
    return [
        BenchmarkResult(
            f"{name}: pace", f">= {MIN_MAILS_A_SECOND:,}/s", f"{pace:,.0f}/s", pace >= MIN_MAILS_A_SECOND, detail
        ),
        BenchmarkResult(
            f"{name}: plan",
            f"<= {MAX_PLAN_SECONDS} s",
            f"{large.plan_seconds:.1f} s",
            large.plan_seconds <= MAX_PLAN_SECONDS,
        ),
        BenchmarkResult(
            f"{name}: planner's memory above that of {small.users:,}",
            f"<= {MAX_PLAN_GROWTH_MIB} MiB",
            f"{growth:.1f} MiB",
            growth <= MAX_PLAN_GROWTH_MIB,
        ),
        BenchmarkResult(
            f"{name}: broker's growth",
            f"<= {MAX_BROKER_GROWTH_MIB} MiB",
            f"{broker:.2f} MiB",
            broker <= MAX_BROKER_GROWTH_MIB,
        ),
        BenchmarkResult(
            f"{name}: broker a user, over {per_user.name}",
            f"<= {MAX_BROKER_SHARE}",
            f"{share:.2g}",
            share <= MAX_BROKER_SHARE,
        ),
        *(
            BenchmarkResult(
                f"{name}: pace over that of {pattern.name}, {pattern.users:,} of them",
                f">= {MIN_SPEEDUP} x",
                f"{pace / pattern.pace:.1f} x ({pattern.pace:,.0f}/s)",
                pace / pattern.pace >= MIN_SPEEDUP,
            )
            for pattern in patterns
        ),
    ]


if __name__ == "__main__":
    typer.run(main)
