"""Tasks that can wait stand back, where processors are scarce, for those that cannot and for Airflow itself.

Without it a worker full of transforms doubles the time that a person waits for an urgent task: the scheduler, the API
server and the urgent task's own process each get a small share of the machine.
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
    """Hears of every task that starts, in the task's own process."""

    @hookimpl
    def on_task_instance_running(self, previous_state: object, task_instance: RuntimeTaskInstance) -> None:  # noqa: ARG002
        """Give the process of a task the niceness of its queue; it can only rise."""
        queue = _QUEUES_BY_NAME.get(task_instance.task.queue)
        if queue is not None:
            os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), queue.niceness))


class SluiceNiceness(AirflowPlugin):
    """Lets tasks that can wait stand back."""

    name = "sluice_niceness"
    listeners = [NicenessListener()]  # noqa: RUF012 - as Airflow asks for them
