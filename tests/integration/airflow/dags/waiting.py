"""An Airflow Dag whose task waits for a file, to be there when its worker is restarted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, get_current_context

from etl.catalog.queues import EMAILS
from sluice_entity_dags import build_default_args
from sluice_reschedule import task

with DAG(
    "waiting",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    tags=["no-deadline"],
    is_paused_upon_creation=False,
    default_args=build_default_args(EMAILS, timedelta(minutes=5)),
):

    @task(task_id="wait")
    def wait() -> None:
        """Wait until there is the file that the run's conf names."""
        import time
        from pathlib import Path

        while not Path((get_current_context()["dag_run"].conf or {})["file"]).exists():
            time.sleep(0.2)

    wait()
