"""A task that exceeds its memory cap, on a Celery worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack

DAG = "memory"
MESSAGE = (
    "the task exceeded its memory cap of 512 MiB (queue etl): no more could be allocated; "
    "reduce chunk_size, or raise `memory` of the queue in include/etl/catalog/queues.py"
)
Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def finished_run(airflow_stack: Stack) -> DagRun:
    """Return a run in which one task has exceeded its cap twice."""
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api:
        api.wait_for_dag(DAG)
        run = api.start_run(DAG)
        deadline = time.monotonic() + 90
        while run.state not in ("success", "failed") and time.monotonic() < deadline:
            time.sleep(1)
            run = api.get_run(DAG, run.run_id)
    return run


def test_a_task_that_exceeds_its_cap_is_retried_and_then_fails_alone(finished_run: DagRun, metadata: Rows) -> None:
    states = metadata("select task_id, state, try_number from task_instance where run_id = %s", finished_run.run_id)
    assert sorted(states) == [
        ("after", "success", 1),
        ("before", "success", 1),
        ("outgrow", "failed", 2),
        ("sibling", "success", 1),
    ]


def test_its_log_and_its_task_instance_name_the_cap_and_the_fix(
    finished_run: DagRun, airflow_stack: Stack, metadata: Rows
) -> None:
    logs = Path(airflow_stack.home).rglob(f"dag_id={DAG}/run_id={finished_run.run_id}/task_id=outgrow/attempt=*.log")
    assert [MESSAGE in log.read_text(encoding="utf-8") for log in logs] == [True, True]
    ((reason,),) = metadata(
        "select retry_reason from task_instance_history where run_id = %s and retry_reason is not null",
        finished_run.run_id,
    )
    assert str(reason).startswith(f"{MESSAGE}; next attempt in ")


def test_its_worker_keeps_all_its_processes(finished_run: DagRun, metadata: Rows) -> None:
    xcoms = metadata("select task_id, value::text from xcom where run_id = %s", finished_run.run_id)
    assert {task for task, _ in xcoms} == {"after", "before", "sibling"}
    assert len({workers for _, workers in xcoms}) == 1
