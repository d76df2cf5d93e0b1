"""Dags that promise more than they keep."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, get_current_context, task

from sluice_deadline import promise

DAILY = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
COMMON: dict[str, Any] = {"schedule": DAILY, "start_date": datetime(2010, 1, 1, tzinfo=UTC), "catchup": False}
TASKS: dict[str, Any] = {"queue": "etl", "pool": "etl", "execution_timeout": timedelta(minutes=5)}

_PLAN = (
    "insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size, attempts) "
    "select 'transactions', %(run)s, n, 1 + 50 * n, 51 + 50 * n, 500, 1 from generate_series(0, 3) as n"
)
_LOAD_ONE = (
    "with sealed as (insert into etl.raw_batches "
    "(source, chunk_id, attempt, content_hash, path, accounts, pages, bytes) "
    "select 'promises', chunk_id, 1, '', '', 0, 0, 0 from etl.chunks where run_id = %(run)s and ordinal = 0 "
    "returning raw_id) "
    "insert into etl.loads select raw_id, 'transactions', 1, 0, 0, 0, 0, 0, 0, 0, 0 from sealed"
)

with DAG("promise_late", **COMMON, **promise(timedelta(seconds=30), entity="transactions")):

    @task(**TASKS, retries=0)
    def wait_for_the_gate() -> None:
        import sluice_connections as connections

        run = {"run": get_current_context()["run_id"]}
        with connections.warehouse() as warehouse:
            warehouse.execute(_PLAN, run)
            warehouse.execute(_LOAD_ONE, run)
            while warehouse.execute("select to_regclass('public.gate')").fetchone() == (None,):
                time.sleep(0.5)

    wait_for_the_gate()

with DAG("promise_broken", **COMMON, **promise(timedelta(seconds=30))):

    @task(**TASKS, retries=0)
    def read_a_value() -> None:
        import sluice_connections as connections

        with connections.warehouse() as warehouse:
            warehouse.execute("select 'Jane Doe'::numeric")

    read_a_value()

with DAG("promise_of_the_past", **COMMON, **promise(timedelta(seconds=1))):
    from airflow.providers.standard.operators.empty import EmptyOperator

    EmptyOperator(task_id="nothing", **TASKS)
