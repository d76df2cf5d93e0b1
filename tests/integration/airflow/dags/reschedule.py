"""A Dag whose tasks must wait, one of them because its provider asks for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, get_current_context

import sluice_entity_tasks as tasks
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.errors import RetryAfter
from sluice_reschedule import task

SCRIPTED = replace(TRANSACTIONS, provider=replace(TRANSACTIONS.provider, name="scripted", connection="scripted"))
TASKS = {"queue": "etl", "pool": "etl", "execution_timeout": timedelta(minutes=5), "weight_rule": "absolute"}

with DAG(
    "reschedule", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), tags=["no-deadline"], default_args=TASKS
):
    tasks.provider_chunk(SCRIPTED).expand(ordinal=tasks.plan(SCRIPTED))

    @task()
    def not_mapped() -> None:
        if not get_current_context()["task_reschedule_count"]:
            raise RetryAfter("the test says so", timedelta(seconds=75))

    not_mapped()
