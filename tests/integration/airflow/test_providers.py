"""Dags of providers that are declared only, run by the scheduler on Celery workers against their sandboxes."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from dev.bank.bank import Bank
from dev.bank.simplefin import truth
from dev.bank.simplefin.access import User
from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.stack import Stack
from etl.db.connection import Connection
from etl.settings import Endpoint
from tests.integration.airflow.conftest import wait_for_end
from tests.integration.conftest import SANDBOX

SIMPLEFIN_DAGS = ("etl_simplefin_accounts", "etl_simplefin_transactions")
SIMPLEFIN_USERS = (100, 101)
TODAY = datetime.now(UTC).date()
FAULTS = {"server_error": 0.2, "truncated_body": 0.15, "not_json": 0.15, "connection_reset": 0.1}


def bank_client(stack: Stack) -> httpx.Client:
    """Return a client of the sandbox bank."""
    bank = Endpoint.from_environment("plaid", stack.environment)
    headers = {"PLAID-CLIENT-ID": bank.login, "PLAID-SECRET": bank.password}
    return httpx.Client(base_url=bank.host, headers=headers, auth=(bank.login, bank.password), trust_env=False)


def set_faults(stack: Stack, rates: dict[str, float]) -> None:
    with bank_client(stack) as client:
        client.post("/sandbox/faults", json={"faults": rates}, auth=None).raise_for_status()


def current_bank(stack: Stack) -> Bank:
    """Return the bank as it is now; its day is moved to where lists of recent days reach it."""
    with bank_client(stack) as client:
        day = datetime.fromisoformat(client.get("/health").json()["day"]).date()
        if day < (recent := TODAY - timedelta(days=60)):
            client.post("/sandbox/day", json={"day": str(recent)}, auth=None).raise_for_status()
            day = recent
    return Bank.from_seed(SANDBOX.seed, opened_on=SANDBOX.opened, today=day)


def run_to_the_end(api: AirflowApi, dag_id: str) -> DagRun:
    api.wait_for_dag(dag_id)
    return wait_for_end(api, dag_id, api.start_run(dag_id))


@pytest.fixture(scope="module")
def simplefin_logins(airflow_stack: Stack) -> dict[int, int]:
    """Link users by the command line, with the setup tokens that they get from the server; return their logins."""
    logins: dict[int, int] = {}
    for user in SIMPLEFIN_USERS:
        with bank_client(airflow_stack) as client:
            token = client.get("/simplefin/create", params={"user": user}).raise_for_status().text
        done = subprocess.run(
            [
                *(sys.executable, "-m", "etl", "link", "--provider", "simplefin"),
                *("--public-token", token, "--user", f"simplefin-{user}"),
            ],
            env=dict(airflow_stack.environment),
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        logins[user] = int(done.stdout.split()[-1])
    return logins


def simplefin_rows(db: Connection, logins: dict[int, int]) -> dict[str, tuple[Decimal, str, bool]]:
    return {
        identity: (amount, currency, pending)
        for identity, amount, currency, pending in db.execute(
            "select transaction_id, amount, currency, pending from core.simplefin_transactions "
            "where provider_account_id = any(%s) and removed_at is null",
            [list(logins.values())],
        )
    }


def test_simplefin_loads_what_its_sandbox_has_twice_also_with_faults(
    api: AirflowApi, airflow_stack: Stack, synced: Connection, simplefin_logins: dict[int, int]
) -> None:
    bank = current_bank(airflow_stack)
    expected: dict[str, Any] = {}
    balances: dict[str, object] = {}
    for number in simplefin_logins:
        user = User.of(bank, number)
        rows = {id_: row for id_, row in truth.transaction_rows(bank, user).items() if row is not None}
        expected |= {
            id_: (row["amount"], row["currency"], row["pending"])
            for id_, row in rows.items()
            if row["pending"] or row["dated_on"] >= TODAY - timedelta(days=89)  # type: ignore[operator]
        }
        balances |= {str(row["account_id"]): row["balance"] for row in truth.account_rows(bank, user)}
    for rates in ({}, FAULTS):
        set_faults(airflow_stack, rates)
        assert [run_to_the_end(api, dag_id).state for dag_id in SIMPLEFIN_DAGS] == ["success", "success"]
        assert simplefin_rows(synced, simplefin_logins) == expected
        assert dict(synced.execute("select account_id, balance from core.simplefin_accounts").fetchall()) == balances
    set_faults(airflow_stack, {})
    assert len(expected) > 100
    states = "select distinct state from core.provider_accounts where provider = 'simplefin'"
    assert synced.execute(states).fetchall() == [("active",)]
    changes = "select count(distinct raw_id) from core.simplefin_transactions"
    assert synced.execute(changes).fetchone() == (1,)
