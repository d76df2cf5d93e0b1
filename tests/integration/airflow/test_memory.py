"""A task that outgrows its cap, on a Celery worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack

DAG = "memory"
SAID = (
    "the task outgrew its cap of 512 MiB (queue etl): no more could be allocated; "
    "cut chunk_size, or raise `memory` of the queue in include/etl/catalog/queues.py"
)
Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def ended(airflow_stack: Stack) -> DagRun:
    """Return a run of which one task has outgrown its cap, twice."""
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api:
        api.wait_for_dag(DAG)
        run = api.start_run(DAG)
        deadline = time.monotonic() + 90
        while run.state not in ("success", "failed") and time.monotonic() < deadline:
            time.sleep(1)
            run = api.get_run(DAG, run.run_id)
    return run


def test_a_task_that_outgrows_its_cap_is_tried_again_and_then_fails_alone(ended: DagRun, metadata: Rows) -> None:
    states = metadata("select task_id, state, try_number from task_instance where run_id = %s", ended.run_id)
    assert sorted(states) == [
        ("after", "success", 1),
        ("before", "success", 1),
        ("outgrow", "failed", 2),
        ("sibling", "success", 1),
    ]


def test_its_log_and_its_task_instance_name_the_cap_and_the_remedy(
    ended: DagRun, airflow_stack: Stack, metadata: Rows
) -> None:
    logs = Path(airflow_stack.home).rglob(f"dag_id={DAG}/run_id={ended.run_id}/task_id=outgrow/attempt=*.log")
    assert [SAID in log.read_text(encoding="utf-8") for log in logs] == [True, True]
    ((reason,),) = metadata(
        "select retry_reason from task_instance_history where run_id = %s and retry_reason is not null", ended.run_id
    )
    assert str(reason).startswith(f"{SAID}; next try in ")


def test_its_worker_lives_on_with_all_its_processes(ended: DagRun, metadata: Rows) -> None:
    seen = metadata("select task_id, value::text from xcom where run_id = %s", ended.run_id)
    assert {task for task, _ in seen} == {"after", "before", "sibling"}
    assert len({workers for _, workers in seen}) == 1
