"""What Airflow calls, on servers that may be gone; Airflow itself need not run."""

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
    """Return an environment with a warehouse of the test's own."""
    found = dict(stack.environment)
    found["PYTHONPATH"] += f":{found['AIRFLOW__CORE__PLUGINS_FOLDER']}"
    held = {"conn_type": "postgres", "host": database.host, "port": database.port, "schema": database.schema}
    held |= {"login": database.login, "password": database.password}
    return {**found, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW_CONN_WAREHOUSE": json.dumps(held)}


@pytest.fixture
def closed() -> int:
    """Return a port on which nobody listens."""
    return next(port for port in candidates() if is_free(port))


def call(function: str, dag_id: str, environment: Mapping[str, str]) -> None:
    run = {"dag_id": dag_id, "run_id": "scheduled__1", "run_type": "scheduled", "state": "failed"}
    subprocess.run(
        [sys.executable, "-c", _CALL], input=json.dumps([function, run]), env=environment, text=True, check=True
    )


def subjects(stack: Stack, dag_id: str) -> list[str]:
    kept = [path.read_text() for path in (Path(stack.home) / "mails").glob("*.eml")]
    lines = [line for text in kept for line in text.splitlines() if line.startswith(f"Subject: {dag_id} ")]
    return sorted(line.removeprefix("Subject: ") for line in lines)


def test_a_failure_is_told_even_while_the_warehouse_is_gone(
    stack: Stack, environment: dict[str, str], closed: int
) -> None:
    gone = {"conn_type": "postgres", "host": LOOPBACK, "port": closed, "login": "me", "password": "hunter2"}
    call("on_failure", "blind", {**environment, "AIRFLOW_CONN_WAREHOUSE": json.dumps(gone)})
    assert subjects(stack, "blind") == ["blind failed: WarehouseUnreachable from warehouse"]


def test_a_mail_that_nobody_took_shows_why_and_goes_out_with_the_next_alert_of_any_run(
    stack: Stack, environment: dict[str, str], closed: int, rows: Rows
) -> None:
    call("on_failure", "unheard", {**environment, "AIRFLOW_CONN_SMTP_DEFAULT": mail_connection(LOOPBACK, closed)})
    ((error, sent_at),) = rows("select error, sent_at from etl.promises")
    assert f"mail server {LOOPBACK}:{closed}: " in str(error)
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
