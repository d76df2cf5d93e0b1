"""One Airflow Dag per declared entity."""

from etl.catalog.entities import ENTITIES
from sluice_entity_dags import entity_dag, entity_dag_id, is_wanted

for entity in ENTITIES:
    if is_wanted(entity_dag_id(entity)):
        entity_dag(entity)
