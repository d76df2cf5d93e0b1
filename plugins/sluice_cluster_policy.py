"""The rules that every Dag and task must keep; one that breaks a rule is an import error which says how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.exceptions import AirflowClusterPolicyViolation

from etl.catalog.queues import QUEUES

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

MAX_RETRIES = 10
"""More would hide that something is broken."""
MAX_TASK_DURATION = timedelta(hours=12)
"""Longest that a task may run; a message that is not acknowledged by the broker's visibility timeout is sent twice."""
NO_DEADLINE_TAG = "no-deadline"
"""Tag of a Dag that promises nothing."""
BACKFILL_RUN_TYPE = "backfill"
"""Type of the runs that must not stand in the way of today's."""

_QUEUES_BY_NAME = {queue.name: queue for queue in QUEUES}


def dag_policy(dag: Any) -> None:  # noqa: ANN401 - a Dag of any kind
    """Refuse a Dag that promises nothing and does not say so."""
    if not dag.deadline and NO_DEADLINE_TAG not in dag.tags:
        raise AirflowClusterPolicyViolation(
            f"Dag {dag.dag_id} has no deadline: nobody would hear that it is late. "
            f"Give it one (`DAG(deadline=…)`), or the tag {NO_DEADLINE_TAG!r}."
        )


def task_policy(task: Any) -> None:  # noqa: ANN401 - an operator of any kind, mapped or not
    """Refuse a task that breaks a rule, and let tasks of expiring queues expire."""
    # Airflow imports this file while it imports itself; what needs its SDK waits until it is there.
    from sluice_queue_ttl import apply_queue_ttl

    if broken := list(_violations(task)):
        raise AirflowClusterPolicyViolation(f"Task {task.dag_id}.{task.task_id} {'; it '.join(broken)}.")
    apply_queue_ttl(task, _QUEUES_BY_NAME[task.queue])


def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Let tasks of a backfill wait in a pool of their own, behind all others."""
    queue = _QUEUES_BY_NAME.get(task_instance.queue or "")
    if dag_run is None or dag_run.run_type != BACKFILL_RUN_TYPE or queue is None or queue.backfill_pool is None:
        return
    task_instance.pool = queue.backfill_pool.name
    task_instance.priority_weight = (task_instance.priority_weight or 0) % 100


def _violations(task: Any) -> Iterator[str]:  # noqa: ANN401 - likewise
    timeout = task.execution_timeout
    if timeout is None or timeout <= timedelta():
        yield (
            "has no execution timeout, and would hold its slot for ever if it hung; "
            "give it one, such as execution_timeout=timedelta(hours=1)"
        )
    elif timeout > MAX_TASK_DURATION:
        yield f"may run for {timeout}, and a task must end within {MAX_TASK_DURATION}; cut its work into smaller chunks"
    queue = _QUEUES_BY_NAME.get(task.queue)
    if queue is None:
        yield (
            f"is on the queue {task.queue!r}, which no worker serves; put it on {', '.join(_QUEUES_BY_NAME)}, "
            "or declare the queue in include/etl/catalog/queues.py"
        )
    elif task.pool != queue.pool.name:
        yield (
            f"is in the pool {task.pool!r}, so that its backlog would age in the broker; "
            f"put it in its queue's pool, {queue.pool.name!r}"
        )
    yield from _retry_violations(task)


def _retry_violations(task: Any) -> Iterator[str]:  # noqa: ANN401 - likewise
    if task.retries and task.retries > MAX_RETRIES:
        yield f"would be tried again {task.retries} times; allow at most {MAX_RETRIES}"
    if task.retries and not getattr(task.retry_policy, "has_jitter", False):
        yield (
            "would be tried again together with its siblings, and after errors that cannot pass; "
            "give it retry_policy=ErrorTypeRetryPolicy() of sluice_retry_policy"
        )
