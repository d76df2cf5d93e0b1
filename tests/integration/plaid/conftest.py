"""The provider twice over: the sandbox bank, and, for `pytest -m live`, Plaid's own Sandbox."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from upath import UPath

from etl.chunking import Chunk
from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.settings import Endpoint
from etl.sync.logins.link import enrol_login
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.pipeline import Pipeline

SANDBOX = "https://sandbox.plaid.com"
MAX_HISTORY_WAIT = timedelta(minutes=3)
POLL_INTERVAL = timedelta(seconds=5)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "live" in config.option.markexpr:
        return
    live = [item for item in items if item.get_closest_marker("live")]
    items[:] = [item for item in items if item not in live]
    config.hook.pytest_deselected(items=live)


@pytest.fixture(params=["sandbox bank", pytest.param("plaid", marks=pytest.mark.live)])
def provider(request: pytest.FixtureRequest) -> Endpoint:
    """Return the address and the credentials of a provider."""
    if request.param == "plaid":
        return Endpoint(SANDBOX, login=_variable("PLAID_CLIENT_ID"), password=_variable("PLAID_SECRET"))
    bank: Endpoint = request.getfixturevalue("bank")
    return bank


@pytest.fixture
def linked(db: Connection, root: UPath, cipher: TokenCipher, provider: Endpoint, limiter: Limiter) -> Pipeline:
    """Return the steps, with one item linked at the provider, whose whole history is there."""
    pipeline = Pipeline(db, root, cipher, provider, limiter)
    with _client(provider) as client:
        request = {"institution_id": "ins_109508", "initial_products": ["transactions"]}
        public_token = _answer(client, "/sandbox/public_token/create", request)["public_token"]
        enrol_login(
            pipeline.entity.provider,
            public_token,
            user="one",
            db=db,
            cipher=cipher,
            endpoint=provider,
            limiter=limiter,
        )
        _wait_for_history(client, pipeline)
    return pipeline


def _wait_for_history(client: httpx.Client, pipeline: Pipeline) -> None:
    ((account,),) = provider_accounts.read_pages(pipeline.db, Chunk(0, 2**62), provider="plaid", feed="none")
    token = pipeline.cipher.decrypt(account.access_token, provider_account_id=account.provider_account_id)
    deadline = time.monotonic() + MAX_HISTORY_WAIT.total_seconds()
    status = ""
    while status != "HISTORICAL_UPDATE_COMPLETE":
        assert time.monotonic() < deadline, f"the item's history is not there yet: {status}"
        status = _answer(client, "/transactions/sync", {"access_token": token, "count": 1})[
            "transactions_update_status"
        ]
        time.sleep(0 if status == "HISTORICAL_UPDATE_COMPLETE" else POLL_INTERVAL.total_seconds())


def _client(provider: Endpoint) -> httpx.Client:
    credentials = {"PLAID-CLIENT-ID": provider.login, "PLAID-SECRET": provider.password}
    return httpx.Client(base_url=provider.host, headers=credentials, timeout=30)


def _answer(client: httpx.Client, path: str, request: Mapping[str, object]) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(path, json=request).raise_for_status().json()
    return answer


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        pytest.fail(f"{name} is not set; `pytest -m live` needs the keys of a team at Plaid's Sandbox.", pytrace=False)
    return value
