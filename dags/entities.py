"""One Airflow Dag per declared entity."""

from sluice_declared_dags import build_entity_dags

build_entity_dags()
