"""Faults of the connection, over a real one."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import uvicorn

from dev.bank.api.app import create_app
from dev.bank.api.auth import Credentials
from dev.bank.api.connections import ConnectionExposingProtocol
from dev.bank.bank import Bank
from dev.bank.faults import Faults

HEADERS = {"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "secret"}
BODY = {"institution_id": "ins_109508", "initial_products": ["auth"], "options": {"override_username": "user_7"}}


@pytest.fixture(scope="module")
def url(bank: Bank) -> Iterator[str]:
    app = create_app(replace(bank, faults=Faults()), Credentials("client", "secret"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http=ConnectionExposingProtocol, lifespan="off", log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers=HEADERS, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def exchange(client: httpx.Client) -> dict[str, str]:
    created = client.post("/sandbox/public_token/create", json=BODY).raise_for_status()
    return {"public_token": created.json()["public_token"]}


def set_faults(client: httpx.Client, **rates: float) -> None:
    client.post("/sandbox/faults", json={"faults": rates}).raise_for_status()


def test_a_reset_connection_fails_the_read(
    client: httpx.Client, exchange: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    set_faults(client, connection_reset=1)
    with pytest.raises(httpx.ReadError):
        client.post("/item/public_token/exchange", json=exchange)
    assert not caplog.records


def test_a_truncated_body_announces_more_than_is_sent(
    client: httpx.Client, exchange: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    set_faults(client)
    complete_size = len(client.post("/item/public_token/exchange", json=exchange).content)
    set_faults(client, truncated_body=1)
    with pytest.raises(
        httpx.RemoteProtocolError, match=rf"received {complete_size // 2} bytes, expected {complete_size}"
    ):
        client.post("/item/public_token/exchange", json=exchange)
    assert not caplog.records


def test_a_timeout_affects_no_other_request(client: httpx.Client, exchange: dict[str, str]) -> None:
    set_faults(client, timeout=1)
    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        client.post("/item/public_token/exchange", json=exchange, timeout=0.3)
    assert time.monotonic() - started >= 0.3
    set_faults(client)
    assert client.post("/item/public_token/exchange", json=exchange).status_code == 200
