"""One Airflow Dag per declared entity."""

from etl.catalog.entities import ENTITIES
from sluice_dags import entity_dag

for entity in ENTITIES:
    entity_dag(entity)
