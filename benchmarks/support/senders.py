"""Bare processes, without Airflow, that send the chunks of one run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dev.stack.home import REPOSITORY
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.db.connection import Connection
from etl.notify.plan import plan_run
from etl.notify.store import runs
from etl.notify.store.runs import RunState

_STOP_TIMEOUT = timedelta(seconds=30)


@dataclass
class Senders:
    """Processes that send one run.

    Parameters
    ----------
    run_id
        The run.
    environment
        Environment of the processes.
    processes
        One per chunk, by ordinal.
    """

    run_id: int
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]]

    def start(self, ordinal: int) -> None:
        """Start, or restart, the process of a chunk."""
        command = (sys.executable, "-m", "benchmarks.support.sender", str(self.run_id), str(ordinal))
        self.processes[ordinal : ordinal + 1] = [
            subprocess.Popen(command, cwd=REPOSITORY, env=dict(self.environment))  # `sending` waits for it
        ]

    def kill(self, ordinal: int) -> None:
        """Kill the process of a chunk, and wait until it has ended."""
        self.processes[ordinal].kill()
        self.processes[ordinal].wait()


@contextmanager
def sending(
    db: Connection, environment: Mapping[str, str], period: str, *, pace: float, count: int
) -> Iterator[Senders]:
    """Plan a period as `count` chunks, and send them until the block ends, which cancels the run."""
    planned = plan_run(
        replace(MONTHLY_REPORT, pace=pace, chunk_size=1, max_chunks=count),
        period,
        trigger="benchmarks",
        as_of=datetime.now(UTC),
        db=db,
    )
    senders = Senders(planned.run_id, environment, [])
    for ordinal in planned.ordinals:
        senders.start(ordinal)
    try:
        yield senders
    finally:
        runs.set_pace_or_state(db, planned.run_id, state=RunState.CANCELLED)
        deadline = time.monotonic() + _STOP_TIMEOUT.total_seconds()
        for process in senders.processes:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
