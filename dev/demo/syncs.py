"""One run of every entity's Dag; Dags that are scheduled after another Dag run after it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.demo.progress import ProgressDisplay
from etl.catalog.entities import ENTITIES
from etl.declare.entity import After, Entity

EntityRuns = dict[str, tuple[Entity, DagRun]]
"""Dag → its entity and its run."""


def dag_id_of(entity: Entity) -> str:
    """Return the id of an entity's Dag."""
    return f"etl_{entity.name}"


def sync_all(airflow: AirflowApi, *, environment: Mapping[str, str], console: Console) -> EntityRuns:
    """Unpause every entity's Dag, wait for the end of one run of each, and return these runs."""
    independent = [entity for entity in ENTITIES if not isinstance(entity.schedule, After)]
    dependent = [entity for entity in ENTITIES if isinstance(entity.schedule, After)]
    for entity in ENTITIES:
        airflow.wait_for_dag(dag_id_of(entity))
    known_run_ids = {dag_id_of(entity): airflow.unpause(dag_id_of(entity)) for entity in dependent}
    display = ProgressDisplay(airflow, environment=environment, console=console)
    runs: EntityRuns = {dag_id_of(entity): (entity, airflow.start_run(dag_id_of(entity))) for entity in independent}
    for dag_id, (_, run) in runs.items():
        console.print(f"{dag_id}: run {run.run_id} is in progress; see {airflow.url}/dags/{dag_id}/runs/{run.run_id}")
    ended = display.wait_until_ended(runs)
    for entity in dependent:
        run = airflow.wait_for_new_run(dag_id_of(entity), known_run_ids[dag_id_of(entity)])
        console.print(f"{dag_id_of(entity)}: run {run.run_id} follows")
        runs[dag_id_of(entity)] = (entity, run)
    ended |= display.wait_until_ended({dag_id_of(entity): runs[dag_id_of(entity)] for entity in dependent})
    return {dag_id: (entity, ended[dag_id]) for dag_id, (entity, _) in runs.items()}
