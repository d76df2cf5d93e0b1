"""The coordinator that runs the tasks of a Celery worker."""

from __future__ import annotations

from collections.abc import Callable

from dev.demo.airflow_api import AirflowApi
from tests.integration.airflow.conftest import wait_for_end

DAG = "coordinator"


def test_a_celery_worker_runs_its_tasks_with_the_registered_coordinator(
    api: AirflowApi, metadata: Callable[..., list[tuple[object, ...]]]
) -> None:
    api.wait_for_dag(DAG)
    run = wait_for_end(api, DAG, api.start_run(DAG))
    assert run.state == "success"
    assert metadata("select value from xcom where run_id = %s and key = 'return_value'", run.run_id) == [
        ("PromptExitCoordinator",)
    ]
