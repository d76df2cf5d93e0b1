"""Providers other than Plaid through a running Airflow, by their declarations only; `test_dag_run.py` has Plaid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from dev.bank.bank import Bank
from dev.demo.airflow_api import AirflowApi
from dev.stack.stack import Stack
from etl.catalog.providers.gocardless import GOCARDLESS
from etl.catalog.providers.simplefin import SIMPLEFIN
from etl.clients import rate_limits
from etl.db.connection import Connection
from etl.declare.provider import Provider
from etl.settings import Endpoint, Settings
from etl.sync.logins.link import Linking, enrol_logins
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.airflow.conftest import wait_for_end
from tests.integration.conftest import SANDBOX
from tests.integration.sync import gocardless_rows, simplefin_rows

Rows = Callable[..., list[tuple[Any, ...]]]
USERS = (0, 1)
FAULTS = {"server_error": 0.15, "truncated_body": 0.15, "connection_reset": 0.15, "rate_limit": 0.15}
MAX_AGE = timedelta(days=60)
"""Age of the bank's day above which it is moved: lists of recent days reach back from the day of the warehouse."""


@dataclass(frozen=True)
class Case:
    """A provider that the sandbox bank serves.

    Parameters
    ----------
    provider
        Its declaration.
    dag
        Dag that syncs its transactions.
    grant
        Returns the public token of what a user grants, from the bank and the number of the user.
    check
        Fails unless the warehouse holds what the bank says of a user.
    """

    provider: Provider
    dag: str
    grant: Callable[[Endpoint, int], str]
    check: Callable[[Bank, int, Rows], None]


CASES = [
    Case(GOCARDLESS, "etl_gocardless_transactions", gocardless_rows.grant, gocardless_rows.check_user),
    Case(SIMPLEFIN, "etl_simplefin_transactions", simplefin_rows.grant, simplefin_rows.check_transactions),
]


@dataclass(frozen=True)
class RunningBank:
    """The bank of the stack."""

    endpoint: Endpoint

    @property
    def bank(self) -> Bank:
        """What it serves, as of its day."""
        day = httpx.get(f"{self.endpoint.host}/health", trust_env=False).raise_for_status().json()["day"]
        return Bank.from_seed(SANDBOX.seed, opened_on=SANDBOX.opened, today=date.fromisoformat(day))

    def post(self, path: str, fields: Mapping[str, object]) -> None:
        """Send a request to one of its own endpoints."""
        headers = {"PLAID-CLIENT-ID": self.endpoint.login, "PLAID-SECRET": self.endpoint.password}
        httpx.post(f"{self.endpoint.host}{path}", json=fields, headers=headers, trust_env=False).raise_for_status()


@pytest.fixture
def running(airflow_stack: Stack) -> Iterator[RunningBank]:
    """Return the bank of the stack, with faults on."""
    running = RunningBank(Endpoint.from_environment("plaid", airflow_stack.environment))
    if running.bank.today < (recent := datetime.now(UTC).date() - MAX_AGE):
        running.post("/sandbox/day", {"day": str(recent)})
    running.post("/sandbox/faults", {"faults": FAULTS})
    yield running
    running.post("/sandbox/faults", {"faults": {}})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.provider.name)
def test_a_provider_is_synced_twice_with_faults_on_and_its_rows_are_those_of_the_bank(
    case: Case, api: AirflowApi, airflow_stack: Stack, synced: Connection, running: RunningBank
) -> None:
    environment = airflow_stack.environment
    linking = Linking(
        case.provider,
        "linked by hand",
        synced,
        TokenCipher(Settings.from_environment(environment).keys),
        Endpoint.from_environment(case.provider.connection, environment),
        rate_limits.connect(Endpoint.from_environment("limits", environment)),
    )
    for user in USERS:
        enrol_logins(linking, case.grant(running.endpoint, user))

    def rows(text: str, *values: object) -> list[tuple[Any, ...]]:
        return synced.execute(text.encode(), values or None).fetchall()

    api.wait_for_dag(case.dag)
    for _ in range(2):
        run = wait_for_end(api, case.dag, api.start_run(case.dag))
        assert run.state == "success", api.failed_tasks(case.dag, run.run_id)
        for user in USERS:
            case.check(running.bank, user, rows)
