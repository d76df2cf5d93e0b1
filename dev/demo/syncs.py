"""One run of the Dag of every entity that the sandbox serves; Dags scheduled after another Dag run after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from rich.console import Console

from dev.bank.api.app import ENDPOINTS
from dev.demo.airflow_api import AirflowApi, DagRun
from dev.demo.progress import ProgressDisplay
from etl.catalog.entities import ENTITIES
from etl.catalog.providers.plaid import PLAID
from etl.declare.entity import After, Entity, RawOf

EntityRuns = dict[str, tuple[Entity, DagRun]]
"""Dag → its entity and its run."""

_SHOWN = ("accounts", "transactions", "merchants")
"""Entities whose tables the results of the demo read."""


def dag_id_of(entity: Entity) -> str:
    """Return the id of an entity's Dag."""
    return f"etl_{entity.name}"


def undeclared_entities() -> list[str]:
    """Return the names of the entities that the demo shows and the catalogue lacks."""
    declared = {entity.name for entity in ENTITIES}
    return [name for name in _SHOWN if name not in declared]


def served_entities(entities: Iterable[Entity], *, provider: str, paths: Collection[str]) -> list[Entity]:
    """Return the entities that a sandbox serves, in the given order.

    Parameters
    ----------
    entities
        Each after the entities that it depends on.
    provider
        Name of the provider whose place the sandbox takes.
    paths
        Paths of its endpoints.
    """
    served: dict[str, Entity] = {}
    for entity in entities:
        if isinstance(entity.source, RawOf):
            is_served = entity.source.entity in served
        else:
            is_served = entity.provider.name == provider and entity.source.path in paths
        if is_served and not (isinstance(entity.schedule, After) and entity.schedule.entity not in served):
            served[entity.name] = entity
    return list(served.values())


def sync_all(airflow: AirflowApi, *, environment: Mapping[str, str], console: Console) -> EntityRuns:
    """Unpause the Dags of the sandbox's entities, wait for the end of one run of each, and return these runs."""
    entities = served_entities(ENTITIES, provider=PLAID.name, paths=[endpoint.path for endpoint in ENDPOINTS])
    if others := [entity.name for entity in ENTITIES if entity not in entities]:
        console.print(f"Not run, since the demo links no logins of their providers: {', '.join(others)}.")
    independent = [entity for entity in entities if not isinstance(entity.schedule, After)]
    dependent = [entity for entity in entities if isinstance(entity.schedule, After)]
    for entity in entities:
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
