"""Raises the niceness of less urgent tasks, so that urgent tasks and Airflow itself come first when CPU is scarce.

Without it, a worker full of transforms doubles the time that a person waits for an urgent task: the scheduler, the API
server and the urgent task's own process each get a small share of the CPU.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from etl.catalog.queues import QUEUES

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

_QUEUES_BY_NAME = {queue.name: queue for queue in QUEUES}


class NicenessListener:
    """Listener that Airflow calls when a task starts, in the task's own process."""

    @hookimpl
    def on_task_instance_running(self, previous_state: object, task_instance: RuntimeTaskInstance) -> None:  # noqa: ARG002
        """Set the process of a task to the niceness of its queue; niceness can only rise."""
        queue = _QUEUES_BY_NAME.get(task_instance.task.queue)
        if queue is not None:
            os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), queue.niceness))


class NicenessPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "sluice_niceness"
    listeners = [NicenessListener()]  # noqa: RUF012 - as Airflow declares them
