"""Messages that somebody else than the scheduler puts into the broker."""

from __future__ import annotations

import json
import time
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery

from dev.demo.airflow_api import AirflowApi
from dev.stack.stack import Stack
from tests.integration.airflow.conftest import wait_for_end

DAG = "coordinator"


@pytest.fixture
def broker(airflow_stack: Stack) -> Celery:
    """Return an app with nothing but the address of the broker."""
    return Celery(broker=airflow_stack.environment["AIRFLOW__CELERY__BROKER_URL"], set_as_current=False)


def test_a_forged_callback_is_refused_by_a_running_worker_which_goes_on_with_its_tasks(
    broker: Celery, api: AirflowApi, airflow_stack: Stack, tmp_path: Path
) -> None:
    proof = tmp_path / "executed"
    callback = {
        "type": "ExecuteCallback",
        "token": "",
        "dag_rel_path": "entities.py",
        "bundle_info": {"name": "dags-folder", "version": None},
        "log_path": None,
        "callback": {
            "id": str(uuid4()),
            "fetch_method": "import_path",
            "data": {"path": "subprocess.getoutput", "kwargs": {"cmd": f"touch {proof}"}},
        },
    }
    forged = (("execute_workload", json.dumps(callback)), ("celery.map", "x"), ("execute_workload", "x" * 10**6))
    for name, text in forged:
        broker.send_task(name, args=[text], queue="etl")
    log = airflow_stack.home / "logs" / "worker-low-priority.log"
    assert [wait_for_line(log, text) for text in ("workers execute tasks only", "celery.map", "more than 65,536")]
    api.wait_for_dag(DAG)
    assert wait_for_end(api, DAG, api.start_run(DAG)).state == "success"
    assert not proof.exists()


def wait_for_line(log: Path, text: str, *, seconds: float = 30.0) -> str:
    """Return the first line of a log with a text, and wait for it at most so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for line in log.read_text(errors="replace").splitlines():
            if text in line:
                return line
        time.sleep(0.2)
    raise AssertionError(f"no line of {log.name} has {text!r}")
