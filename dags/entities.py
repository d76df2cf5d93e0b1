"""One Airflow Dag per declared entity."""

from etl.catalog.entities import ENTITIES
from sluice_entity_dags import build_entity_dag, entity_dag_id, should_build

for entity in ENTITIES:
    if should_build(entity_dag_id(entity)):
        build_entity_dag(entity)
