"""A coordinator that detects the exit of a task at once, so that the worker process is free for the next task.

Airflow's supervisor watches the sockets of its task. They close a moment before the task's process exits. A supervisor
that checks in between sleeps until its next heartbeat, up to 5 s, although the task's pool slot is free and the next
task waits in the broker. Tasks with a raised niceness (`sluice_niceness`) nearly always end like that.
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

_COORDINATOR_NAME = "sluice-prompt-exit"
_FORWARDED_ARGUMENTS = (
    "what",
    "dag_rel_path",
    "bundle_info",
    "client",
    "logger",
    "sentry_integration",
    "subprocess_logs_to_stdout",
)
"""Arguments that Airflow's own coordinator passes on to the supervisor."""


class PromptExitCoordinator(BaseCoordinator):
    """Runs tasks like Airflow's Python coordinator, but detects their exit at once."""

    def execute_task(self, **task: Any) -> BaseCoordinator.ExecutionResult:  # noqa: ANN401 - as Airflow passes it
        """Run one task, and return its result when its process has exited."""
        from airflow.sdk.execution_time.supervisor import ActivitySubprocess

        process = ActivitySubprocess.start(**{name: task[name] for name in _FORWARDED_ARGUMENTS})
        with watch_exit(process):
            return self.ExecutionResult(process.wait(), process.final_state)


@contextmanager
def watch_exit(process: WatchedSubprocess) -> Iterator[None]:
    """Wake the loop of a supervisor when its process exits, by a `pidfd` that the kernel then makes readable."""
    with ExitStack() as stack:
        # The task is running already: if no `pidfd` can be opened, supervise it as Airflow does.
        with suppress(OSError):
            pidfd = stack.enter_context(os.fdopen(os.pidfd_open(process.pid), "rb", buffering=0))
            process.selector.register(pidfd, EVENT_READ, (_on_process_exit, process.selector.unregister))
        yield


def register_coordinator() -> None:
    """Register the coordinator for all declared queues, except those that have another one configured.

    It is registered by environment variables, which the worker's forked pool processes read at their first task. A
    settings file cannot hold them, since queue names are declared in the catalogue.
    """
    if not _has_pidfd():
        return
    coordinators = {
        _COORDINATOR_NAME: {"classpath": f"{PromptExitCoordinator.__module__}.{PromptExitCoordinator.__qualname__}"}
    }
    queues = dict.fromkeys((queue.name for queue in QUEUES), _COORDINATOR_NAME)
    for option, defaults in (("coordinators", coordinators), ("queue_to_coordinator", queues)):
        configured = conf.getjson("sdk", option, fallback={})
        os.environ[f"AIRFLOW__SDK__{option.upper()}"] = json.dumps({**defaults, **configured})


def _has_pidfd() -> bool:
    """Return whether `pidfd_open` works; some kernels and sandboxes lack it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _on_process_exit(_: object) -> bool:
    return False
