"""Skips tasks that start later than the time to live of their queue allows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowSkipException

from etl.declare.queue import Queue

if TYPE_CHECKING:
    from airflow.sdk import Context


def apply_queue_ttl(task: Any, queue: Queue) -> None:  # noqa: ANN401 - an operator of any kind, mapped or not
    """Make a task skip itself, before it does anything, if it starts later than its queue allows."""
    if queue.time_to_live is None:
        return
    if isinstance(task, MappedOperator):
        task.partial_kwargs["pre_execute"] = build_expiry_hook(queue, next_hook=task.partial_kwargs.get("pre_execute"))
    else:
        task._pre_execute_hook = build_expiry_hook(queue, next_hook=task._pre_execute_hook)  # noqa: SLF001 - Airflow has no public way to add a hook


def build_expiry_hook(queue: Queue, *, next_hook: Callable[[Context], None] | None) -> Callable[[Context], None]:
    """Return a pre-execute hook that skips a late task, and otherwise calls `next_hook`."""

    def check(context: Context) -> None:
        overdue = lateness(context["dag_run"].run_after, queue, as_of=datetime.now(UTC))
        if overdue > timedelta() and not _is_resumed(context):
            raise AirflowSkipException(
                f"skipped: on the queue {queue.name} a task must start within {queue.time_to_live} "
                f"of its run, and this one starts {timedelta(seconds=round(overdue.total_seconds()))} too late"
            )
        if next_hook is not None:
            next_hook(context)

    return check


def _is_resumed(context: Context) -> bool:
    """Return whether the task was deferred or rescheduled: it started in time, and a skip would waste its wait."""
    from_server = getattr(context.get("ti"), "_ti_context_from_server", None)
    is_rescheduled = bool(getattr(from_server, "task_reschedule_count", 0))
    return is_rescheduled or getattr(from_server, "next_method", None) is not None


def lateness(due_at: datetime, queue: Queue, *, as_of: datetime) -> timedelta:
    """Return by how much a task would start too late; negative if it is in time."""
    return timedelta.min if queue.time_to_live is None else as_of - due_at - queue.time_to_live
