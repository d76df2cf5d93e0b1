"""Airflow's cluster policies. Airflow imports this file by its name, and ignores policies that a plugin defines."""

from sluice_cluster_policy import dag_policy, task_instance_mutation_hook, task_policy

__all__ = ["dag_policy", "task_instance_mutation_hook", "task_policy"]
