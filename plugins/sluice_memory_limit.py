"""Each task has a cap on its memory; one that outgrows it fails by itself, and says so.

Celery's limits hold for its own processes, and a task is a fork of one of them. The kernel's limit on data makes
Python, NumPy and Arrow raise `MemoryError` in the task alone; its worker and its siblings do not notice.
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
from etl.declare.queue import Queue

if TYPE_CHECKING:
    from airflow.sdk import Context

MIB = 1 << 20

_REPORT_HEADROOM = 64 * MIB
"""What a task that outgrew its cap is given to tell of it."""
_STACK_SIZE = MIB
"""Of each thread. It counts whole, and the usual 8 MiB of some 30 threads would be half of a cap."""
_VM_DATA_LINE = re.compile(r"^VmData:\s+(\d+) kB$", re.MULTILINE)
_QUEUES_BY_NAME = {queue.name: queue for queue in QUEUES}


class MemoryCapExceeded(MemoryError):
    """A task took more memory than its queue allows."""

    def __init__(self, queue: Queue, reason: str) -> None:
        super().__init__(
            f"the task outgrew its cap of {queue.memory} MiB (queue {queue.name}): {reason}; "
            "cut chunk_size, or raise `memory` of the queue in include/etl/catalog/queues.py"
        )


class MemoryCapListener:
    """Hears of every task that starts, in the task's own process."""

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:  # noqa: ANN401 - Airflow's own differ
        """Cap the task."""
        task = task_instance.task
        queue = _QUEUES_BY_NAME.get(task.queue)
        if queue is not None:
            task.execute = with_memory_cap(task.execute, queue)


def with_memory_cap(execute: Callable[[Context], object], queue: Queue) -> Callable[[Context], object]:
    """Return a task's `execute`, within the cap of its queue."""

    @wraps(execute)
    def run(context: Context) -> object:
        cap, lifted = _compute_limits(queue)
        threading.stack_size(_STACK_SIZE)
        resource.setrlimit(resource.RLIMIT_DATA, cap)
        try:
            try:
                return execute(context)
            finally:
                # Before all else: to tell of an error, or to hand on a result, takes memory too.
                resource.setrlimit(resource.RLIMIT_DATA, lifted)
        except MemoryError as error:
            raise MemoryCapExceeded(queue, str(error) or "no more could be allocated") from error

    return run


def _compute_limits(queue: Queue) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the soft and the hard limit in bytes, in force and for the report, counted from what is in use now.

    No limit is above the one that the process has: its container's, or in `airflow dags test` that of the task before.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    in_use = sum(int(kibibytes) * 1024 for kibibytes in _VM_DATA_LINE.findall(status))
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    highest = sys.maxsize if highest == resource.RLIM_INFINITY else highest
    soft = min(in_use + queue.memory * MIB, highest)
    hard = min(soft + _REPORT_HEADROOM, highest)
    return (soft, hard), (hard, hard)


class SluiceMemory(AirflowPlugin):
    """Caps the memory of tasks."""

    name = "sluice_memory_limit"
    listeners = [MemoryCapListener()]  # noqa: RUF012 - as Airflow asks for them
