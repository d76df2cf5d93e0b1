"""Tasks of expiring queues skip themselves when it is too late for them to be of use."""

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
    """Let a task skip itself, before it does anything, if it starts later than its queue allows."""
    if queue.time_to_live is None:
        return
    if isinstance(task, MappedOperator):
        task.partial_kwargs["pre_execute"] = build_expiry_hook(queue, next_hook=task.partial_kwargs.get("pre_execute"))
    else:
        task._pre_execute_hook = build_expiry_hook(queue, next_hook=task._pre_execute_hook)  # noqa: SLF001 - where Airflow has it


def build_expiry_hook(queue: Queue, *, next_hook: Callable[[Context], None] | None) -> Callable[[Context], None]:
    """Return what runs before a task: it skips the task if it is late, and else goes on to `next_hook`."""

    def check(context: Context) -> None:
        late = lateness(context["dag_run"].run_after, queue, as_of=datetime.now(UTC))
        if late > timedelta() and not _is_resumed(context):
            raise AirflowSkipException(
                f"skipped: on the queue {queue.name} a task must start within {queue.time_to_live} "
                f"of its run, and this one starts {timedelta(seconds=round(late.total_seconds()))} later"
            )
        if next_hook is not None:
            next_hook(context)

    return check


def _is_resumed(context: Context) -> bool:
    """Return whether the task began in time, and was deferred since: what it waited for would be lost."""
    from_server = getattr(context.get("ti"), "_ti_context_from_server", None)
    return getattr(from_server, "next_method", None) is not None


def lateness(due_at: datetime, queue: Queue, *, as_of: datetime) -> timedelta:
    """Return how much too late a task would start; negative if it is not."""
    return timedelta.min if queue.time_to_live is None else as_of - due_at - queue.time_to_live
