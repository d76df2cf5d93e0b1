"""What Airflow asks of a cluster: its policies. Airflow finds this file by its name; in a plugin they are ignored."""

from sluice_cluster_policy import dag_policy, task_instance_mutation_hook, task_policy

__all__ = ["dag_policy", "task_instance_mutation_hook", "task_policy"]
