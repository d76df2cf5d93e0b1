"""Workers notice at once that a task has ended, so that its process is free when the next task is sent.

Airflow's supervisor listens to its task over sockets. They close a moment before the task's process has ended, and a
supervisor that looks in between sleeps until its next heartbeat, up to 5 s, though the task's slot of the pool is free
and the next task waits in the broker. Tasks that stand back (`sluice_niceness`) nearly always end like that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from selectors import EVENT_READ
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.coordinator import BaseCoordinator

from etl.catalog.queues import QUEUES

if TYPE_CHECKING:
    from airflow.sdk.execution_time.supervisor import WatchedSubprocess

_COORDINATOR_NAME = "sluice-attendance"
_FORWARDED_ARGUMENTS = (
    "what",
    "dag_rel_path",
    "bundle_info",
    "client",
    "logger",
    "sentry_integration",
    "subprocess_logs_to_stdout",
)
"""What Airflow's own coordinator takes of what it is given."""


class PromptExitCoordinator(BaseCoordinator):
    """Runs tasks as Airflow's coordinator of Python does, but attended."""

    def execute_task(self, **task: Any) -> BaseCoordinator.ExecutionResult:  # noqa: ANN401 - as Airflow hands it over
        """Run one task to its end."""
        from airflow.sdk.execution_time.supervisor import ActivitySubprocess

        process = ActivitySubprocess.start(**{name: task[name] for name in _FORWARDED_ARGUMENTS})
        with watch_exit(process):
            return self.ExecutionResult(process.wait(), process.final_state)


@contextmanager
def watch_exit(process: WatchedSubprocess) -> Iterator[None]:
    """Let a supervisor's loop go round as soon as its process has ended, which the kernel tells."""
    with ExitStack() as open_files:
        # The task runs already: without a file for it, it is supervised as Airflow would.
        with suppress(OSError):
            end = open_files.enter_context(os.fdopen(os.pidfd_open(process.pid), "rb", buffering=0))
            process.selector.register(end, EVENT_READ, (_on_process_exit, process.selector.unregister))
        yield


def register_coordinator() -> None:
    """Let this worker attend the tasks of all declared queues, but for those with a coordinator of their own.

    The processes of its pool are forks of it, which read this when they begin their first task. It cannot stand in a
    file of settings, since the names of the queues are declared elsewhere.
    """
    if not _has_pidfd():
        return
    coordinators = {
        _COORDINATOR_NAME: {"classpath": f"{PromptExitCoordinator.__module__}.{PromptExitCoordinator.__qualname__}"}
    }
    queues = dict.fromkeys((queue.name for queue in QUEUES), _COORDINATOR_NAME)
    for option, ours in (("coordinators", coordinators), ("queue_to_coordinator", queues)):
        configured = conf.getjson("sdk", option, fallback={})
        os.environ[f"AIRFLOW__SDK__{option.upper()}"] = json.dumps({**ours, **configured})


def _has_pidfd() -> bool:
    """Return whether the end of a process can be waited for; some kernels and sandboxes know no `pidfd_open`."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _on_process_exit(_: object) -> bool:
    return False
