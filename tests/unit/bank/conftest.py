import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import httpx
import pytest

from dev.bank.api.app import create_app
from dev.bank.api.auth import Credentials
from dev.bank.bank import Bank
from dev.bank.changes import Changes
from dev.bank.faults import Faults
from dev.bank.hostile.readers import Readers

HEADERS = {"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "secret"}

Send = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def bank() -> Bank:
    return Bank.from_seed("seed", opened_on=date(2026, 3, 1), today=date(2026, 6, 29))


@pytest.fixture
def send(bank: Bank) -> Send:
    fresh_bank = replace(bank, changes=Changes(), faults=Faults(), readers=Readers())
    app = create_app(fresh_bank, Credentials("client", "secret"))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def request(method: str, path: str, **options: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://bank") as client:
            return await client.request(method, path, **options)

    def send(
        path: str, fields: Mapping[str, Any] | None = None, *, method: str = "POST", **options: Any
    ) -> httpx.Response:
        body = {} if fields is None else {"json": fields}
        return asyncio.run(request(method, path, **{"headers": HEADERS, **body, **options}))

    return send


@pytest.fixture
def access_token(send: Send) -> str:
    fields = {
        "institution_id": "ins_109508",
        "initial_products": ["transactions"],
        "options": {"override_username": "user_7"},
    }
    public_token = send("/sandbox/public_token/create", fields).json()["public_token"]
    exchanged = send("/item/public_token/exchange", {"public_token": public_token}).json()
    return str(exchanged["access_token"])
