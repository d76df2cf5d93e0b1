"""Bare no-op Dags, as a baseline of Airflow's own cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

SETTINGS: dict[str, Any] = {"queue": "etl", "pool": "etl", "execution_timeout": timedelta(minutes=10)}
COMMON: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2010, 1, 1, tzinfo=UTC),
    "catchup": False,
    "tags": ["no-deadline"],
    "default_args": SETTINGS,
}
STARTS = 10
INSTANCES = 34
"""As many as a run of eight chunks has after its plan."""


@task
def first_line(_ordinal: int) -> float:
    """Return the time at the first line of the task's code."""
    import time

    return time.time()


@task
def ordinals() -> list[int]:
    """Return a number for each instance of `nothing`."""
    return list(range(INSTANCES))


@task
def nothing(_ordinal: int) -> None:
    """Do nothing."""


with DAG("bare_start", **COMMON):
    first_line.expand(_ordinal=list(range(STARTS)))

with DAG("bare_run", **COMMON):
    nothing.expand(_ordinal=ordinals())
