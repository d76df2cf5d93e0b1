"""A Dag whose tasks measure their start, with the Dags of all entities in its file and the imports of all steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task

from etl.catalog.entities import ENTITIES
from sluice_entity_dags import build_entity_dag

STARTS = 10

for entity in ENTITIES:
    build_entity_dag(replace(entity, name=f"{entity.name}_again"))

with DAG(
    "sluice_start",
    schedule=None,
    start_date=datetime(2010, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["no-deadline"],
    default_args={"queue": "etl", "pool": "etl", "execution_timeout": timedelta(minutes=10)},
):

    @task
    def first_line(_ordinal: int) -> float:
        """Return the time after the imports of all steps."""
        import time

        from etl.sync import download, load, store_raw, transform  # noqa: F401

        return time.time()

    first_line.expand(_ordinal=list(range(STARTS)))
