"""Connections that tasks get; Airflow itself is not running."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from dev.stack.stack import Stack
from etl.settings import Endpoint

_CALL = """
import json
from types import SimpleNamespace
import psycopg
import sluice_connections as connections

def settings(db):
    names = ("application_name", "lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
    return [db.execute(f"show {name}").fetchone()[0] for name in names]

with connections.warehouse() as db:
    outside = settings(db)
task = SimpleNamespace(dag_id="etl_transactions", task_id="chunk.load", map_index=3)
connections.get_current_context = lambda: {"ti": task}
with connections.warehouse() as db:
    inside, autocommit = settings(db), db.autocommit
with connections.metadata_db() as db:
    metadata = settings(db)
    try:
        db.execute("create table public.scratch ()")
    except psycopg.errors.ReadOnlySqlTransaction:
        metadata.append("read-only")
print(json.dumps({"outside": outside, "inside": inside, "autocommit": autocommit, "metadata": metadata}))
"""


def test_tasks_have_bounded_connections_that_say_which_task_they_are_of(
    stack: Stack, database: Endpoint, tmp_path: Path
) -> None:
    environment = {**stack.environment, "AIRFLOW_HOME": str(tmp_path)}
    environment["PYTHONPATH"] += f":{environment['AIRFLOW__CORE__PLUGINS_FOLDER']}"
    fields = {"host": database.host, "port": database.port, "login": database.login, "schema": database.schema}
    connection = json.dumps({"conn_type": "postgres", "password": database.password, **fields})
    environment |= {"AIRFLOW_CONN_WAREHOUSE": connection, "AIRFLOW_CONN_AIRFLOW_DB": connection}
    call = subprocess.run([sys.executable, "-c", _CALL], env=environment, text=True, check=True, stdout=subprocess.PIPE)
    assert json.loads(call.stdout.splitlines()[-1]) == {
        "outside": ["sluice", "5min", "10min", "30min"],
        "inside": ["etl_transactions.chunk.load[3]", "5min", "10min", "30min"],
        "autocommit": True,
        "metadata": ["etl_transactions.chunk.load[3]", "10s", "1min", "10s", "read-only"],
    }


_TAKE = """
from datetime import timedelta
import redis
from etl.clients import rate_limits
rate_limits._TIMEOUT_SECONDS = 0.2
import sluice_connections as connections
try:
    connections.limiter().take([rate_limits.Bucket("k", timedelta(seconds=1), 1)])
except redis.TimeoutError:
    print("gave up")
"""


def test_a_server_of_rate_limits_that_never_answers_does_not_block_a_task(stack: Stack, tmp_path: Path) -> None:
    environment = {**stack.environment, "AIRFLOW_HOME": str(tmp_path)}
    environment["PYTHONPATH"] += f":{environment['AIRFLOW__CORE__PLUGINS_FOLDER']}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limits = {"conn_type": "redis", "host": "127.0.0.1", "port": silent.getsockname()[1]}
        environment["AIRFLOW_CONN_LIMITS"] = json.dumps(limits)
        call = subprocess.run(
            [sys.executable, "-c", _TAKE], env=environment, text=True, check=True, stdout=subprocess.PIPE, timeout=60
        )
    assert call.stdout.splitlines()[-1] == "gave up"
