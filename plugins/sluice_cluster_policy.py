"""Rules for every Dag and task. Breaking one is an import error that names the rule and the fix.

Queues are those of the last start, see `sluice_declared_dags`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.exceptions import AirflowClusterPolicyViolation

from etl.catalog.queues import QUEUES
from etl.declare.fault import catalog_path
from etl.declare.queue import MAX_TASK_DURATION, TEST_POOL

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

MAX_RETRIES = 10
"""Largest number of retries of a task; more would hide that something is broken."""
NO_DEADLINE_TAG = "no-deadline"
"""Tag of a Dag that has no deadline on purpose."""
BACKFILL_RUN_TYPE = "backfill"
"""Airflow's type of backfill runs, which must not delay any other run."""

MAX_TEST_DURATION = timedelta(days=1)
"""A running scheduler ignores a test run for so long, since its `run_after` is in the future."""
_TEMPORARY_RUN_PREFIX = "__airflow_temporary_run_"
"""Of the run ids of `airflow tasks test`."""

_QUEUES_BY_NAME = {queue.name: queue for queue in QUEUES}


def dag_policy(dag: Any) -> None:  # noqa: ANN401 - a Dag of any kind
    """Raise if a Dag has neither a deadline nor the tag that waives it."""
    if not dag.deadline and NO_DEADLINE_TAG not in dag.tags:
        raise AirflowClusterPolicyViolation(
            f"Dag {dag.dag_id} has no deadline, so no alert would say that it is late. "
            f"Give it one (`DAG(deadline=…)`), or the tag {NO_DEADLINE_TAG!r}."
        )


def task_policy(task: Any) -> None:  # noqa: ANN401 - an operator of any kind, mapped or not
    """Raise if a task breaks a rule, and apply the time to live of its queue."""
    # Airflow imports this module while it imports itself, before its SDK can be imported.
    from sluice_queue_ttl import apply_queue_ttl

    _require_task_rules(task)
    apply_queue_ttl(task, _QUEUES_BY_NAME[task.queue])


def require_rules(dag: Any) -> None:  # noqa: ANN401 - likewise
    """Raise if a Dag or one of its tasks breaks a rule."""
    dag_policy(dag)
    for task in dag.tasks:
        _require_task_rules(task)


def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Put tasks of a backfill into a pool of their own, behind all others, and hide test runs from the scheduler."""
    if dag_run is not None and _is_test(dag_run):
        task_instance.pool = TEST_POOL.name
        now = datetime.now(UTC)
        if dag_run.run_after <= now:
            dag_run.run_after = now + MAX_TEST_DURATION
        return
    queue = _QUEUES_BY_NAME.get(task_instance.queue or "")
    if dag_run is None or dag_run.run_type != BACKFILL_RUN_TYPE or queue is None or queue.backfill_pool is None:
        return
    task_instance.pool = queue.backfill_pool.name
    task_instance.priority_weight = (task_instance.priority_weight or 0) % 100


def _require_task_rules(task: Any) -> None:  # noqa: ANN401 - likewise
    if violations := list(_violations(task)):
        raise AirflowClusterPolicyViolation(f"Task {task.dag_id}.{task.task_id} {'; it '.join(violations)}.")


def _is_test(dag_run: DagRun) -> bool:
    """Tell whether a run belongs to `airflow dags test` or `airflow tasks test`.

    Their tasks run in the process of that command. A running scheduler would schedule them, too, and both would
    deadlock in Airflow's database.
    """
    from airflow.utils.types import DagRunTriggeredByType

    return dag_run.triggered_by == DagRunTriggeredByType.TEST or dag_run.run_id.startswith(_TEMPORARY_RUN_PREFIX)


def _violations(task: Any) -> Iterator[str]:  # noqa: ANN401 - likewise
    timeout = task.execution_timeout
    if timeout is None or timeout <= timedelta():
        yield (
            "has no execution timeout, so it would hold its slot for ever if it hung; "
            "give it one, such as execution_timeout=timedelta(hours=1)"
        )
    elif timeout > MAX_TASK_DURATION:
        yield f"has an execution timeout of {timeout}, above {MAX_TASK_DURATION}; split its work into smaller chunks"
    queue = _QUEUES_BY_NAME.get(task.queue)
    if queue is None:
        yield (
            f"is on the queue {task.queue!r}, which no worker serves; put it on {', '.join(_QUEUES_BY_NAME)}, "
            f"or declare the queue in {catalog_path('queues.py')}"
        )
    elif task.pool not in {pool.name for pool in (queue.pool, queue.planning_pool) if pool is not None}:
        yield (
            f"is in the pool {task.pool!r}, so its backlog would wait in the broker instead of Airflow's database; "
            f"put it in its queue's pool, {queue.pool.name!r}"
        )
    yield from _retry_violations(task)


def _retry_violations(task: Any) -> Iterator[str]:  # noqa: ANN401 - likewise
    if task.retries and task.retries > MAX_RETRIES:
        yield f"has {task.retries} retries; allow at most {MAX_RETRIES}"
    if task.retries and not getattr(task.retry_policy, "has_jitter", False):
        yield (
            "would be retried at the same time as its siblings, and after permanent errors; "
            "give it retry_policy=ErrorTypeRetryPolicy() of sluice_retry_policy"
        )
