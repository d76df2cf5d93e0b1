"""A running stack with measurements: duration of runs, CPU time of its programs, and the scheduler's loop."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks.support import home
from dev.demo.airflow_api import AirflowApi, AirflowTimeout, DagRun
from dev.servers.bank import Sandbox
from dev.stack.airflow_environment import ADMIN
from dev.stack.down import find_supervisor
from dev.stack.home import REPOSITORY, find
from dev.stack.plan import StackOptions
from dev.stack.programs import BANK
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.db.connection import connect_url

_DAY = date(2026, 1, 1)
_BUNDLES = [
    {"name": name, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": str(path)}}
    for name, path in (("dags-folder", REPOSITORY / "dags"), ("benchmarks", REPOSITORY / "benchmarks" / "dags"))
]
_SCHEDULER_LOGGER = "airflow.jobs.scheduler_job_runner.SchedulerJobRunner"
_LOOP_TIME = re.compile(rb"Ran scheduling loop in ([0-9.]+) ms")
_SERVERS = ("bin/postgres", "valkey-server", "dev.bank", "dev.mail")
"""Parts of the command lines of programs that are not Airflow's."""
_MAX_WAIT = timedelta(minutes=20)
_POLL = 0.25
_DURATION = "select extract(epoch from end_date - queued_at)::float from dag_run where dag_id = %s and run_id = %s"


@dataclass(frozen=True)
class MeasuredStack:
    """A running stack, and a session with its Airflow.

    Parameters
    ----------
    stack
        The stack.
    airflow
        The session.
    bank_port
        Port at which tasks expect the bank.
    """

    stack: Stack
    airflow: AirflowApi
    bank_port: int

    def run_seconds(self, dag_id: str, run: DagRun) -> float:
        """Wait for a run, and return the seconds from its queueing to its end."""
        self.wait_for_success(dag_id, run)
        ((seconds,),) = self.query_metadata(_DURATION, dag_id, run.run_id)
        return float(seconds)

    def wait_for_success(self, dag_id: str, run: DagRun) -> None:
        """Wait until a run has succeeded."""
        deadline = time.monotonic() + _MAX_WAIT.total_seconds()
        while (state := self.airflow.get_run(dag_id, run.run_id).state) not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise AirflowTimeout(f"the end of {dag_id}", _MAX_WAIT.total_seconds())
            time.sleep(_POLL)
        if state != "success":
            sys.exit(f"error: {dag_id}, run {run.run_id}: {self.airflow.failed_tasks(dag_id, run.run_id)}")

    def query_metadata(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query on Airflow's own database, and return its rows."""
        with connect_url(self.stack.metadata_url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def cpu_seconds(self) -> float:
        """Return the CPU-seconds that Airflow's programs and their tasks have spent so far."""
        supervisor = psutil.Process(int((self.stack.home / "supervisord.pid").read_text()))
        programs = [each for each in supervisor.children() if not any(part in _command_line(each) for part in _SERVERS)]
        return sum(_cpu_seconds(each) for program in programs for each in (program, *program.children(recursive=True)))

    def loop_seconds(self, seconds: float) -> list[float]:
        """Observe the scheduler for `seconds`, and return the duration of each of its loops in seconds."""
        log: Path = self.stack.home / "logs" / "scheduler.log"
        with log.open("rb") as file:
            file.seek(0, 2)
            time.sleep(seconds)
            return [float(match[1]) / 1000 for match in _LOOP_TIME.finditer(file.read())]


@contextmanager
def running(*, console: Console) -> Iterator[MeasuredStack]:
    """Run a stack whose bank is stopped, so that another can take its port, and whose scheduler logs each loop."""
    with home.temporary() as folder:
        stack = up(
            folder,
            caller_environment=home.caller_environment(
                AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(_BUNDLES),
                AIRFLOW__LOGGING__NAMESPACE_LEVELS=f"airflow.dag_processing=WARNING {_SCHEDULER_LOGGER}=DEBUG",
            ),
            options=StackOptions(Sandbox("benchmarks", opened=_DAY, day=_DAY), ui_port=None),
            say=console.print,
        )
        with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow:
            _stop_sandbox_bank(stack)
            yield MeasuredStack(stack, airflow, int(stack.bank_url.rpartition(":")[2]))


def _stop_sandbox_bank(stack: Stack) -> None:
    """Stop the sandbox bank, so that another can listen on its port."""
    supervisor = find_supervisor(find(stack.home))
    if supervisor is None:
        sys.exit(f"error: nothing runs in {stack.home}")
    supervisor.stop(BANK)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
