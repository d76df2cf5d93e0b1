"""The Airflow Dag that removes data past its retention."""

from sluice_maintenance_dag import build_maintenance_dag

build_maintenance_dag()
