"""Runs every entity's Dag once, those that follow another after it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.demo.progress import Watch
from etl.catalog.entities import ENTITIES
from etl.declare.entity import After, Entity

Runs = dict[str, tuple[Entity, DagRun]]
"""Dag → its entity and its run."""


def dag_of(entity: Entity) -> str:
    """Return the name of an entity's Dag."""
    return f"etl_{entity.name}"


def sync(airflow: AirflowApi, *, environment: Mapping[str, str], console: Console) -> Runs:
    """Unpause every entity's Dag, wait for a run of each, and return the runs as they ended."""
    leading = [entity for entity in ENTITIES if not isinstance(entity.schedule, After)]
    following = [entity for entity in ENTITIES if isinstance(entity.schedule, After)]
    for entity in ENTITIES:
        airflow.wait_for_dag(dag_of(entity))
    known = {dag_of(entity): airflow.unpause(dag_of(entity)) for entity in following}
    watch = Watch(airflow, environment=environment, console=console)
    runs: Runs = {dag_of(entity): (entity, airflow.start_run(dag_of(entity))) for entity in leading}
    for dag_id, (_, run) in runs.items():
        console.print(f"{dag_id}: run {run.run_id} is under way; see {airflow.url}/dags/{dag_id}/runs/{run.run_id}")
    ended = watch.until_ended(runs)
    for entity in following:
        run = airflow.wait_for_new_run(dag_of(entity), known[dag_of(entity)])
        console.print(f"{dag_of(entity)}: run {run.run_id} follows")
        runs[dag_of(entity)] = (entity, run)
    ended |= watch.until_ended({dag_of(entity): runs[dag_of(entity)] for entity in following})
    return {dag_id: (entity, ended[dag_id]) for dag_id, (entity, _) in runs.items()}
