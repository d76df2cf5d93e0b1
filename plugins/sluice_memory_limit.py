"""Caps the memory of each task; a task that exceeds its cap fails with an error that says so.

Celery's limits apply to its own processes, and a task is a fork of one of them. The kernel's limit on data makes
Python, NumPy and Arrow raise `MemoryError` in the task alone; its worker and its siblings are not affected.
"""

from __future__ import annotations

import re
import resource
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from etl.catalog.queues import QUEUES
from etl.declare.fault import catalog_path
from etl.declare.queue import Queue

if TYPE_CHECKING:
    from airflow.sdk import Context

MIB = 1 << 20

_REPORT_HEADROOM = 64 * MIB
"""Additional memory with which a task that exceeded its cap can report the error."""
_STACK_SIZE = MIB
"""Stack of each thread. It counts in full, and the usual 8 MiB of some 30 threads would use up half of a cap."""
_VM_DATA_LINE = re.compile(r"^VmData:\s+(\d+) kB$", re.MULTILINE)
_QUEUES_BY_NAME = {queue.name: queue for queue in QUEUES}


class MemoryCapExceeded(MemoryError):
    """A task needed more memory than its queue allows."""

    def __init__(self, queue: Queue, reason: str) -> None:
        super().__init__(
            f"the task exceeded its memory cap of {queue.memory} MiB (queue {queue.name}): {reason}; "
            f"reduce chunk_size, or raise `memory` of the queue in {catalog_path('queues.py')}"
        )


class MemoryCapListener:
    """Listener that Airflow calls when a task starts, in the task's own process."""

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:  # noqa: ANN401 - has no common type
        """Cap the memory of the task."""
        task = task_instance.task
        queue = _QUEUES_BY_NAME.get(task.queue)
        if queue is not None:
            task.execute = with_memory_cap(task.execute, queue)


def with_memory_cap(execute: Callable[[Context], object], queue: Queue) -> Callable[[Context], object]:
    """Return a function that runs a task's `execute` within the memory cap of its queue."""

    @wraps(execute)
    def run(context: Context) -> object:
        task_limit, report_limit = _compute_limits(queue)
        threading.stack_size(_STACK_SIZE)
        resource.setrlimit(resource.RLIMIT_DATA, task_limit)
        try:
            try:
                return execute(context)
            finally:
                # Raise the limit first: reporting an error or returning a result needs memory too.
                resource.setrlimit(resource.RLIMIT_DATA, report_limit)
        except MemoryError as error:
            raise MemoryCapExceeded(queue, str(error) or "no more could be allocated") from error

    return run


def _compute_limits(queue: Queue) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the soft and hard limit in bytes of the task, and of its report; memory that is in use now is included.

    No limit exceeds the hard limit of the process: its container's, or in `airflow dags test` the previous task's.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    in_use = sum(int(kibibytes) * 1024 for kibibytes in _VM_DATA_LINE.findall(status))
    _, maximum = resource.getrlimit(resource.RLIMIT_DATA)
    maximum = sys.maxsize if maximum == resource.RLIM_INFINITY else maximum
    soft = min(in_use + queue.memory * MIB, maximum)
    hard = min(soft + _REPORT_HEADROOM, maximum)
    return (soft, hard), (hard, hard)


class MemoryLimitPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "sluice_memory_limit"
    listeners = [MemoryCapListener()]  # noqa: RUF012 - as Airflow declares them
