"""Tasks that are rescheduled to wait, on Celery workers: one of them because its bank asks for it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dev.demo.airflow_api import AirflowApi
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from etl.db.connection import connect_warehouse
from etl.settings import Settings
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.scripted_bank import ScriptedBank, refusal
from tests.unit.sync.samples import page

DAG = "reschedule"
WAIT = 75
TOKEN = "of-the-waiting-account"
RESCHEDULED = (
    "select t.task_id, t.map_index, t.try_number, extract(epoch from r.reschedule_date - r.end_date)::int as wait "
    "from task_instance as t join task_reschedule as r on r.ti_id = t.id "
    "where t.run_id = %s and t.state = 'up_for_reschedule' order by 1"
)
END_WAITS = "update task_reschedule set reschedule_date = now() returning 1"
Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def bank(airflow_stack: Stack) -> Iterator[ScriptedBank]:
    """Return a bank with one account, whose first answer is a rate limit with a wait of `WAIT` seconds."""
    with ScriptedBank() as bank:
        bank.script(
            TOKEN,
            refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After=str(WAIT)),
            page(next_cursor="c"),
        )
        connection = {"conn_type": "http", "host": bank.url, "login": "id", "password": "secret"}
        subprocess.run(
            ["airflow", "connections", "add", "scripted", "--conn-json", json.dumps(connection)],
            env=dict(airflow_stack.environment),
            check=True,
            timeout=60,
        )
        environment = airflow_stack.environment
        with connect_warehouse(environment) as db:
            cipher = TokenCipher(Settings.from_environment(environment).keys)
            provider_accounts.enrol(db, cipher, provider="scripted", user="waits", item_id="waits", access_token=TOKEN)
        yield bank


def wait_for(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)


def test_a_task_that_must_wait_is_rescheduled_and_spends_no_retry(
    airflow_stack: Stack, bank: ScriptedBank, metadata: Rows
) -> None:
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as api:
        api.wait_for_dag(DAG)
        run = api.start_run(DAG)
        wait_for(lambda: len(metadata(RESCHEDULED, run.run_id)) == 2)
        started_at = datetime.now(UTC)
        rescheduled = metadata(RESCHEDULED, run.run_id)
        assert [row[:3] for row in rescheduled] == [("chunk.download", 0, 1), ("not_mapped", -1, 1)]
        assert {row[3] for row in rescheduled} <= set(range(WAIT - 2, int(WAIT * 1.2)))

        wait_for(lambda: datetime.now(UTC) > started_at + timedelta(seconds=5))
        assert metadata(RESCHEDULED, run.run_id) == rescheduled
        assert len(bank.requests[TOKEN]) == 1

        metadata(END_WAITS)
        wait_for(lambda: api.get_run(DAG, run.run_id).state in ("success", "failed"))
        assert api.get_run(DAG, run.run_id).state == "success"
    assert metadata("select distinct try_number from task_instance where run_id = %s", run.run_id) == [(1,)]
    assert len(bank.requests[TOKEN]) == 2
