"""The Airflow Dag that removes what is past its retention."""

from sluice_maintenance_dag import build_maintenance_dag

build_maintenance_dag()
