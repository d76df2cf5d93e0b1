"""A worker notices at once that a task has ended, so that its process is free when the next task is sent.

Airflow's supervisor listens to its task over sockets. They close a moment before the task's process has ended, and a
supervisor that looks in between sleeps until its next heartbeat, up to 5 s, though the task's slot of the pool is free
and the next task is waiting in the broker. Tasks that stand back (`sluice_niceness`) nearly always end like that.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.coordinator import BaseCoordinator
from airflow.sdk.execution_time.supervisor import ActivitySubprocess

from etl.catalog.queues import QUEUES

_NAME = "sluice"


class AttendedTask(ActivitySubprocess):
    """A task whose end is waited for once it has nothing more to say."""

    def _service_subprocess(self, max_wait_time: float, *how: Any, **named: Any) -> Any:  # noqa: ANN401 - Airflow's own
        if self._open_sockets:
            return super()._service_subprocess(max_wait_time, *how, **named)
        with suppress(self._process.TimeoutExpired):
            self._process.wait(timeout=max_wait_time)
        return self._check_subprocess_exit(*how, **named)


class Attendance(BaseCoordinator):
    """Runs tasks as Airflow's own coordinator of Python does, but attended."""

    def execute_task(self, **task: Any) -> BaseCoordinator.ExecutionResult:  # noqa: ANN401 - as Airflow hands it over
        """Run one task to its end."""
        process = AttendedTask.start(**task)
        return self.ExecutionResult(process.wait(), process.final_state)


def attend() -> None:
    """Let this worker attend the tasks of all declared queues, but for those with a coordinator of their own."""
    coordinators = {_NAME: {"classpath": f"{Attendance.__module__}.{Attendance.__qualname__}"}}
    queues = dict.fromkeys((queue.name for queue in QUEUES), _NAME)
    for option, ours in (("coordinators", coordinators), ("queue_to_coordinator", queues)):
        configured = conf.getjson("sdk", option, fallback={})
        os.environ[f"AIRFLOW__SDK__{option.upper()}"] = json.dumps({**ours, **configured})
