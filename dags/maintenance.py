"""The Airflow Dag that removes what is past its retention."""

from sluice_maintenance_dag import maintenance_dag

maintenance_dag()
