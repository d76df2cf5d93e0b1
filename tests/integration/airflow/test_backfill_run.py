"""Backfills, run by the scheduler on Celery workers: they do not delay other runs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from tests.integration.airflow.conftest import wait_for_end
from tests.integration.conftest import DAY

DAG = "etl_transactions"
Rows = Callable[..., list[tuple[object, ...]]]
TASKS = (
    "select task_id, map_index, queue, pool, priority_weight from task_instance "
    "where run_id = %s and task_id <> 'all_loaded' order by 1, 2"
)


def backfill(stack: Stack, first: object, last: object, *options: str) -> None:
    """Start a backfill."""
    subprocess.run(
        ["airflow", "backfill", "create", "--dag-id", DAG, "--from-date", str(first), "--to-date", str(last), *options],
        env=dict(stack.environment),
        check=True,
        timeout=120,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def scheduled(airflow_stack: Stack) -> DagRun:
    """Return the scheduled run after its end."""
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api:
        api.wait_for_dag(DAG)
        return wait_for_end(api, DAG, api.start_run(DAG))


@pytest.fixture(scope="module")
def backfilled(airflow_stack: Stack, scheduled: DagRun) -> list[DagRun]:
    """Return the runs of a backfill of two days after their ends."""
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api:
        earlier_runs = api.unpause(DAG)
        backfill(airflow_stack, DAY - timedelta(days=3), DAY - timedelta(days=2), "--max-active-runs", "1")
        return [wait_for_end(api, DAG, run) for run in api.new_runs(DAG, earlier_runs)]


def test_every_task_of_a_backfill_is_in_its_pool_and_weighs_less_than_all_others(
    backfilled: list[DagRun], metadata: Rows
) -> None:
    assert [run.state for run in backfilled] == ["success", "success"]
    for run in backfilled:
        tasks = metadata(TASKS, run.run_id)
        assert {(task, index) for task, index, *_ in tasks} >= {("plan", -1), ("chunk.load", 0), ("chunk.load", 1)}
        assert {(queue, pool) for _, _, queue, pool, _ in tasks} == {("etl", "etl_backfill")}
        assert all(0 <= int(str(weight)) < 100 for *_, weight in tasks)


def test_a_scheduled_run_has_its_own_pool_and_goes_first(scheduled: DagRun, metadata: Rows) -> None:
    assert scheduled.state == "success"
    tasks = metadata(TASKS, scheduled.run_id)
    assert {(queue, pool) for _, _, queue, pool, _ in tasks} == {("etl", "etl")}
    assert all(int(str(weight)) >= 200 for *_, weight in tasks)


def test_a_scheduled_run_that_is_reprocessed_keeps_its_pool(
    airflow_stack: Stack, scheduled: DagRun, backfilled: list[DagRun], api: AirflowApi, metadata: Rows
) -> None:
    deadline = time.monotonic() + 90
    while metadata("select 1 from backfill where completed_at is null") and time.monotonic() < deadline:
        time.sleep(1)
    ((day,),) = metadata("select logical_date::date::text from dag_run where run_id = %s", scheduled.run_id)
    backfill(airflow_stack, str(day), str(day), "--reprocess-behavior", "completed", "--max-active-runs", "1")
    assert wait_for_end(api, DAG, api.get_run(DAG, scheduled.run_id)).state == "success"
    ((run_type,),) = metadata("select run_type from dag_run where run_id = %s", scheduled.run_id)
    assert run_type == "backfill"
    assert {pool for _, _, _, pool, _ in metadata(TASKS, scheduled.run_id)} == {"etl"}
