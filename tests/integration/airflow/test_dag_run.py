"""The Dag of an entity, run by the scheduler on Celery workers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.stack import Stack
from etl.db.connection import Connection
from etl.settings import Endpoint, Settings
from tests.integration.airflow.conftest import USERS, wait_for_end

DAG = "etl_transactions"
Rows = Callable[..., list[tuple[object, ...]]]


def run_to_the_end(api: AirflowApi) -> DagRun:
    api.wait_for_dag(DAG)
    return wait_for_end(api, DAG, api.start_run(DAG))


@pytest.fixture(scope="module")
def first(airflow_stack: Stack) -> DagRun:
    with AirflowApi(airflow_stack.ui_url, user="admin", password=airflow_stack.ui_password) as api:
        return run_to_the_end(api)


def test_merchants_are_loaded_after_the_transactions_that_name_them(
    first: DagRun, api: AirflowApi, synced: Connection, metadata: Rows
) -> None:
    api.wait_for_dag("etl_merchants")
    earlier_runs = api.unpause("etl_merchants")
    assert run_to_the_end(api).state == "success"
    assert wait_for_end(api, "etl_merchants", api.wait_for_new_run("etl_merchants", earlier_runs)).state == "success"
    assert synced.execute(
        "select count(*) from core.transactions as t "
        "left join core.merchants as m on m.entity_id = t.merchant_entity_id "
        "where t.merchant_entity_id is not null and m.entity_id is null"
    ).fetchone() == (0,)
    assert metadata("select distinct run_type from dag_run where dag_id = 'etl_merchants'") == [("asset_triggered",)]


def set_faults(stack: Stack, **rates: float) -> None:
    bank = Endpoint.from_environment("plaid", stack.environment)
    headers = {"PLAID-CLIENT-ID": bank.login, "PLAID-SECRET": bank.password}
    with httpx.Client(base_url=bank.host, headers=headers, trust_env=False) as client:
        client.post("/sandbox/faults", json={"faults": rates}).raise_for_status()


def totals(synced: Connection) -> tuple[object, ...]:
    (row,) = synced.execute("select count(*), sum(amount), max(raw_id) from core.transactions").fetchall()
    return row


def test_a_run_loads_all_chunks_and_succeeds(first: DagRun, synced: Connection, metadata: Rows) -> None:
    assert first.state == "success"
    assert synced.execute("select count(distinct provider_account_id) from core.transactions").fetchone() == (USERS,)
    assert metadata(
        "select task_id, count(*) from task_instance where run_id = %s and state = 'success' group by 1 order by 1",
        first.run_id,
    ) == [
        ("all_loaded", 1),
        ("check_logins", 1),
        ("chunk.download", 2),
        ("chunk.load", 2),
        ("chunk.store_raw", 2),
        ("chunk.transform", 2),
        ("plan", 1),
        ("report", 1),
    ]


def test_the_asset_event_holds_the_counts(first: DagRun, synced: Connection, metadata: Rows) -> None:
    ((extra,),) = metadata(
        "select extra from asset_event where source_run_id = %s and source_task_id = 'report'", first.run_id
    )
    assert isinstance(extra, dict)
    counts = synced.execute(
        "select sum(l.read)::int, sum(l.inserted)::int, sum(l.unchanged)::int from etl.loads as l "
        "join etl.raw_batches as r using (raw_id) join etl.chunks as c using (chunk_id) "
        "where l.entity = 'transactions' and c.entity = 'transactions' and c.run_id = %s",
        [first.run_id],
    ).fetchone()
    assert (extra["read"], extra["inserted"], extra["unchanged"]) == counts
    assert (extra["chunks"], extra["chunks_loaded"], extra["accounts_drained"]) == (2, 2, USERS)


def test_tasks_exchange_ids_only(first: DagRun, metadata: Rows) -> None:
    assert metadata("select task_id, key from xcom where length(value::text) > 4096") == []
    results = metadata("select task_id, value::text from xcom where map_index >= 0 and run_id = %s", first.run_id)
    assert {task for task, _ in results} == {"chunk.download", "chunk.store_raw", "chunk.transform"}
    assert all(str(value).isdecimal() for _, value in results)


def test_a_second_run_changes_nothing(first: DagRun, api: AirflowApi, synced: Connection) -> None:
    before = totals(synced)
    assert run_to_the_end(api).state == "success"
    assert totals(synced) == before


def test_both_worker_groups_serve_their_queues(airflow_stack: Stack) -> None:
    done = subprocess.run(
        ["airflow", "celery", "list-workers", "--output", "json"],
        env=dict(airflow_stack.environment),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    workers = json.loads(done.stdout)
    assert {worker["worker_name"].split("-")[0]: worker["queues"] for worker in workers} == {
        "high_priority": ["urgent_notifications"],
        "low_priority": ["urgent_notifications", "emails", "etl", "maintenance"],
    }


def test_a_failed_chunk_stops_no_sibling_and_fails_the_run(
    first: DagRun, api: AirflowApi, synced: Connection, metadata: Rows
) -> None:
    synced.execute("update etl.cursors set value = ''")
    synced.execute("create table spare as select provider_account_id, access_token from core.provider_accounts")
    synced.execute("update core.provider_accounts set access_token = 'x' where provider_account_id <= 30")
    run = run_to_the_end(api)
    synced.execute(
        "update core.provider_accounts as p set access_token = s.access_token "
        "from spare as s where s.provider_account_id = p.provider_account_id"
    )
    assert run.state == "failed"
    states = metadata("select task_id, map_index, state, try_number from task_instance where run_id = %s", run.run_id)
    by_task = {(task, index): (state, tries) for task, index, state, tries in states}
    assert by_task["chunk.download", 0] == ("failed", 1)
    assert by_task["chunk.load", 1] == ("success", 1)
    assert by_task["report", -1] == ("success", 1)
    assert by_task["all_loaded", -1][0] == "upstream_failed"
    assert synced.execute("select count(*) from etl.cursors where value <> ''").fetchone() == (USERS // 2,)


def test_a_wave_of_stops_fails_the_run_after_its_report_and_stops_no_login(
    first: DagRun, api: AirflowApi, airflow_stack: Stack, synced: Connection, metadata: Rows
) -> None:
    set_faults(airflow_stack, login_required=1.0)
    run = run_to_the_end(api)
    set_faults(airflow_stack)
    assert run.state == "failed"
    assert metadata(
        "select task_id, state, try_number from task_instance where run_id = %s and map_index < 0 order by 1",
        run.run_id,
    ) == [("all_loaded", "success", 1), ("check_logins", "failed", 1), ("plan", "success", 1), ("report", "success", 1)]
    assert synced.execute("select distinct state from core.provider_accounts").fetchall() == [("active",)]
    assert metadata("select count(*) from asset_event where source_run_id = %s", run.run_id) == [(1,)]
    failures = synced.execute("select error_type, message from etl.failures where run_id = %s", [run.run_id]).fetchall()
    ((error_type, message),) = failures
    assert error_type == "TooManyLoginsStopped"
    assert f"plaid answered ITEM_LOGIN_REQUIRED for {USERS} of {USERS} logins" in message
    assert "Link's update mode" in message
    assert run_to_the_end(api).state == "success"


def test_no_secret_is_in_a_log_or_an_xcom(first: DagRun, airflow_stack: Stack, metadata: Rows) -> None:
    environment = airflow_stack.environment
    bank = Endpoint.from_environment("plaid", environment)
    secrets = {
        bank.password,
        Endpoint.from_environment("warehouse", environment).password,
        Endpoint.from_environment("limits", environment).password,
        *Settings.from_environment(environment).keys,
        "access-sandbox-",
    }
    logs = [path for path in Path(airflow_stack.home).rglob("*.log") if path.is_file()]
    assert len(logs) > 10
    leaks = [
        f"{path}: {secret[:4]}…"
        for path in logs
        for secret in secrets
        if secret in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert leaks == []
    assert [
        secret for secret in secrets if metadata("select 1 from xcom where value::text like %s", f"%{secret}%")
    ] == []
