"""A Dag with a task that allocates four times its memory cap."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, TriggerRule, task

from sluice_retry_policy import ErrorTypeRetryPolicy

MIB = 1 << 20
TASKS = {"queue": "etl", "pool": "etl", "execution_timeout": timedelta(minutes=5)}


def worker() -> list[int]:
    """Return the process ids of the Celery worker and of its children, one of which is the parent of this task."""
    import psutil

    parent = psutil.Process(psutil.Process(os.getppid()).ppid())
    return [parent.pid, *sorted(child.pid for child in parent.children())]


with DAG(
    "memory", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), tags=["no-deadline"], default_args=TASKS
):

    @task
    def before() -> list[int]:
        return worker()

    @task(retries=1, retry_policy=ErrorTypeRetryPolicy(base=timedelta(seconds=2)))
    def outgrow() -> None:
        blocks: list[bytes] = []
        while len(blocks) < 2_000:
            blocks.append(bytes(MIB))

    @task
    def sibling() -> list[int]:
        time.sleep(5)
        return worker()

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def after() -> list[int]:
        return worker()

    before() >> [outgrow(), sibling()] >> after()
