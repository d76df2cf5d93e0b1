"""Runs that a developer starts by hand, `airflow dags test` and `airflow tasks test`, beside a running scheduler."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest

from dev.demo.airflow_api import AirflowApi
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from tests.integration.conftest import DAY

DAGS = ("etl_accounts", "etl_transactions", "etl_merchants", "notify_monthly_report", "maintenance")
Rows = Callable[..., list[tuple[object, ...]]]
OF_TEST_RUN = (
    "select distinct t.pool, t.queued_dttm is null, r.run_after <= now() from dag_run as r "
    "join task_instance as t using (dag_id, run_id) where r.dag_id = %s and r.triggered_by = 'TEST'"
)


def airflow(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Airflow's."""
    return subprocess.run(
        ["airflow", *arguments],
        env=dict(stack.environment),
        check=False,
        timeout=180,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def unpaused(airflow_stack: Stack) -> Iterator[Stack]:
    """Return the stack, whose scheduler runs `etl_transactions`, too; forget the test runs afterwards."""
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api:
        for dag_id in DAGS:
            api.wait_for_dag(dag_id)
        api.unpause("etl_transactions")
    yield airflow_stack
    with psycopg.connect(airflow_stack.metadata_url, autocommit=True) as metadata_db:
        metadata_db.execute("delete from dag_run where triggered_by = 'TEST'")


@pytest.mark.parametrize("dag_id", DAGS)
def test_a_dag_can_be_tested_beside_a_running_scheduler(unpaused: Stack, dag_id: str, metadata: Rows) -> None:
    done = airflow(unpaused, "dags", "test", dag_id, str(DAY - timedelta(days=10)))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "state=success" in done.stdout
    assert metadata(OF_TEST_RUN, dag_id) == [("dag_test", True, True)]


def test_a_dag_can_be_tested_in_python(unpaused: Stack) -> None:
    script = (
        "from sluice_entity_dags import build_entity_dag\n"
        "from etl.catalog.entities.accounts import ACCOUNTS\n"
        "dag = build_entity_dag(ACCOUNTS)\n"
        "print(dag.test().state, len(dag.deadline))\n"
    )
    environment = dict(unpaused.environment)
    environment["PYTHONPATH"] += f":{environment['AIRFLOW__CORE__PLUGINS_FOLDER']}"
    done = subprocess.run(
        ["python", "-c", script], env=environment, check=False, timeout=180, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["success 4"], done.stderr[-3000:]


def test_a_task_can_be_tested_and_leaves_no_run(unpaused: Stack, metadata: Rows) -> None:
    done = airflow(unpaused, "tasks", "test", "etl_transactions", "plan", str(DAY - timedelta(days=11)))
    assert done.returncode == 0, done.stdout[-3000:]
    assert metadata("select count(*) from dag_run where run_id like '\\_\\_airflow%%'") == [(0,)]
