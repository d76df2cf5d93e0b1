"""A Dag whose task returns the class of the coordinator that its worker process uses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, get_current_context, task

TASKS = {"queue": "etl", "pool": "etl", "execution_timeout": timedelta(minutes=5)}

with DAG(
    "coordinator", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), tags=["no-deadline"], default_args=TASKS
):

    @task
    def coordinator_class() -> str:
        from airflow.sdk.execution_time.coordinator import get_coordinator_manager

        return type(get_coordinator_manager().for_queue(get_current_context()["task"].queue)).__name__

    coordinator_class()
