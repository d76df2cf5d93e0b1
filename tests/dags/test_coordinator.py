"""The coordinator: when the process of a worker detects that its task has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from etl.catalog.queues import QUEUES
from tests.airflow_environment import ENVIRONMENT
from tests.dags.conftest import ROOT

NEVER = str(10**6)
"""Seconds between heartbeats: none within the test."""


def run(script: str, **environment: str) -> str:
    """Return the last line that a script prints in its own process."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("plugins", "include"))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **ENVIRONMENT, **environment, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.splitlines()[-1]


def test_the_exit_of_a_task_after_its_sockets_closed_is_detected_before_the_next_heartbeat() -> None:
    script = """
import os, time, uuid
from airflow.sdk.execution_time.supervisor import ActivitySubprocess, WatchedSubprocess
from sluice_coordinator import watch_exit

def close_sockets_and_exit():
    os.closerange(0, 1024)
    time.sleep(2)
    os._exit(7)

task = WatchedSubprocess.start.__func__(ActivitySubprocess, id=uuid.uuid4(), client=None, target=close_sockets_and_exit)
task._last_successful_heartbeat = task._last_heartbeat_attempt = time.monotonic()
with watch_exit(task):
    task._monitor_subprocess()
print(task._exit_code)
"""
    heartbeats = {
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": NEVER,
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": NEVER,
    }
    assert run(script, **heartbeats) == "7"


COORDINATORS = """
import json
from sluice_celery_config import prepare_worker
prepare_worker()
from airflow.sdk.execution_time.coordinator import get_coordinator_manager
print(json.dumps({queue: type(get_coordinator_manager().for_queue(queue)).__name__ for queue in QUEUES}))
"""


def coordinators(*queues: str, **environment: str) -> Any:
    """Return the coordinator of each queue in a worker after its start."""
    return json.loads(run(COORDINATORS.replace("QUEUES", repr(queues)), **environment))


def test_the_coordinator_is_registered_for_all_declared_queues() -> None:
    names = [queue.name for queue in QUEUES]
    assert coordinators(*names, "elsewhere") == {
        **dict.fromkeys(names, "PromptExitCoordinator"),
        "elsewhere": "_PythonCoordinator",
    }


def test_without_pidfd_open_airflows_own_coordinator_is_used() -> None:
    refusing = """
import os
def refuse(*_):
    raise PermissionError
os.pidfd_open = refuse
"""
    assert json.loads(run(refusing + COORDINATORS.replace("QUEUES", "['etl']"))) == {"etl": "_PythonCoordinator"}


def test_a_task_is_supervised_as_airflow_does_if_no_file_can_be_opened() -> None:
    script = """
import os
from types import SimpleNamespace
from sluice_coordinator import watch_exit

def refuse(*_):
    raise OSError("too many open files")

os.pidfd_open = refuse
with watch_exit(SimpleNamespace(pid=1, selector=None)):
    print("runs")
"""
    assert run(script) == "runs"


def test_a_worker_that_cannot_prepare_for_its_tasks_does_not_start() -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        coordinators("etl", AIRFLOW__SDK__COORDINATORS="{")
    assert "error: this worker cannot prepare for its tasks: " in raised.value.stderr


def test_a_queue_with_another_configured_coordinator_keeps_it() -> None:
    native = {
        "classpath": "airflow.sdk.coordinators.executable.ExecutableCoordinator",
        "kwargs": {"executables_root": ["/opt/bundles"]},
    }
    environment = {
        "AIRFLOW__SDK__COORDINATORS": json.dumps({"native": native}),
        "AIRFLOW__SDK__QUEUE_TO_COORDINATOR": json.dumps({"elsewhere": "native", "etl": "native"}),
    }
    assert coordinators("elsewhere", "etl", "emails", **environment) == {
        "elsewhere": "ExecutableCoordinator",
        "etl": "ExecutableCoordinator",
        "emails": "PromptExitCoordinator",
    }
