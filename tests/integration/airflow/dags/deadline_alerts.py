"""Dags that miss their deadlines or fail."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, task

from sluice_deadline import deadline_arguments

DAILY = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
COMMON: dict[str, Any] = {"schedule": DAILY, "start_date": datetime(2010, 1, 1, tzinfo=UTC), "catchup": False}
TASKS: dict[str, Any] = {"queue": "etl", "pool": "etl", "execution_timeout": timedelta(minutes=5)}

with DAG("deadline_late", **COMMON, **deadline_arguments(timedelta(seconds=30), entity="accounts")):

    @task(**TASKS, retries=0)
    def wait_for_the_gate() -> None:
        import sluice_connections as connections

        with connections.warehouse() as db:
            while db.execute("select to_regclass('public.gate')").fetchone() == (None,):
                time.sleep(0.5)

    wait_for_the_gate()

with DAG("deadline_broken", **COMMON, **deadline_arguments(timedelta(seconds=45))):

    @task(**TASKS, retries=0)
    def read_a_value() -> None:
        import sluice_connections as connections

        with connections.warehouse() as db:
            db.execute("select 'Jane Doe'::numeric")

    read_a_value()

with DAG("deadline_past", **COMMON, **deadline_arguments(timedelta(seconds=1))):
    from airflow.providers.standard.operators.empty import EmptyOperator

    EmptyOperator(task_id="nothing", **TASKS)
