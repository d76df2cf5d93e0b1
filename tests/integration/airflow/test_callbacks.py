"""Airflow callbacks while the warehouse or the mail server is down; Airflow itself is not running."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dev.servers.ports import LOOPBACK, candidates, is_free
from dev.stack.stack import Stack
from dev.stack.urls import mail_connection
from etl.settings import Endpoint

Rows = Callable[..., list[tuple[object, ...]]]
_CALL = """
import json, sys
import sluice_alerts
function, run = json.load(sys.stdin)
getattr(sluice_alerts, function)({"dag_run": run})
"""


@pytest.fixture
def environment(stack: Stack, database: Endpoint, tmp_path: Path) -> dict[str, str]:
    """Return an environment whose warehouse belongs to the test."""
    variables = dict(stack.environment)
    variables["PYTHONPATH"] += f":{variables['AIRFLOW__CORE__PLUGINS_FOLDER']}"
    connection = {"conn_type": "postgres", "host": database.host, "port": database.port, "schema": database.schema}
    connection |= {"login": database.login, "password": database.password}
    return {**variables, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW_CONN_WAREHOUSE": json.dumps(connection)}


@pytest.fixture
def closed_port() -> int:
    """Return a port on which no server listens."""
    return next(port for port in candidates() if is_free(port))


def call(function: str, dag_id: str, environment: Mapping[str, str]) -> None:
    run = {"dag_id": dag_id, "run_id": "scheduled__1", "run_type": "scheduled", "state": "failed"}
    subprocess.run(
        [sys.executable, "-c", _CALL], input=json.dumps([function, run]), env=environment, text=True, check=True
    )


def subjects(stack: Stack, dag_id: str) -> list[str]:
    mails = [path.read_text() for path in (Path(stack.home) / "mails").glob("*.eml")]
    lines = [line for mail in mails for line in mail.splitlines() if line.startswith(f"Subject: {dag_id} ")]
    return sorted(line.removeprefix("Subject: ") for line in lines)


def test_a_failure_alert_is_sent_while_the_warehouse_is_down(
    stack: Stack, environment: dict[str, str], closed_port: int
) -> None:
    unreachable = {"conn_type": "postgres", "host": LOOPBACK, "port": closed_port, "login": "me", "password": "hunter2"}
    call("on_failure", "blind", {**environment, "AIRFLOW_CONN_WAREHOUSE": json.dumps(unreachable)})
    assert subjects(stack, "blind") == ["blind failed: WarehouseUnreachable from warehouse"]


def test_an_unsent_mail_records_its_error_and_is_sent_with_the_next_alert_of_any_run(
    stack: Stack, environment: dict[str, str], closed_port: int, rows: Rows
) -> None:
    call("on_failure", "unheard", {**environment, "AIRFLOW_CONN_SMTP_DEFAULT": mail_connection(LOOPBACK, closed_port)})
    ((error, sent_at),) = rows("select error, sent_at from etl.promises")
    assert f"mail server {LOOPBACK}:{closed_port}: " in str(error)
    assert sent_at is None
    call("on_failure", "heard", environment)
    assert subjects(stack, "heard") == ["heard failed"]
    assert subjects(stack, "unheard") == ["unheard failed"]
    assert rows("select dag_id, attempts, error from etl.promises where sent_at is not null order by 1") == [
        ("heard", 1, None),
        ("unheard", 2, None),
    ]
    call("on_success", "heard", environment)
    assert len(subjects(stack, "heard")) == 1
