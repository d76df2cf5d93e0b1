"""What becomes of a worker's process when the task that it attends ends."""

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
"""Seconds until a heartbeat."""


def run(script: str, **environment: str) -> str:
    """Return the last line that a script prints in a process of its own."""
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


def test_a_task_that_ends_after_its_last_word_is_not_waited_for_until_the_next_heartbeat() -> None:
    script = """
import os, time, uuid
from airflow.sdk.execution_time.supervisor import ActivitySubprocess, WatchedSubprocess
from sluice_coordinator import watch_exit

def fall_silent():
    os.closerange(0, 1024)
    time.sleep(2)
    os._exit(7)

task = WatchedSubprocess.start.__func__(ActivitySubprocess, id=uuid.uuid4(), client=None, target=fall_silent)
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
    """Return the coordinator of each queue in a worker that has started."""
    return json.loads(run(COORDINATORS.replace("QUEUES", repr(queues)), **environment))


def test_workers_attend_the_tasks_of_all_declared_queues() -> None:
    names = [queue.name for queue in QUEUES]
    assert coordinators(*names, "elsewhere") == {
        **dict.fromkeys(names, "PromptExitCoordinator"),
        "elsewhere": "_PythonCoordinator",
    }


def test_where_the_kernel_tells_of_no_end_tasks_are_left_to_airflow() -> None:
    refusing = """
import os
def refuse(*_):
    raise PermissionError
os.pidfd_open = refuse
"""
    assert json.loads(run(refusing + COORDINATORS.replace("QUEUES", "['etl']"))) == {"etl": "_PythonCoordinator"}


def test_a_task_for_which_no_file_is_left_is_supervised_as_airflow_would() -> None:
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


def test_a_queue_that_is_configured_otherwise_keeps_its_coordinator() -> None:
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
