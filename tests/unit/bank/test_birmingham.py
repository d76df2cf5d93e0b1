"""The real file, drained through the API, with counts and sums that the bank does not compute."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Struct

from dev.bank.api.app import create_app
from dev.bank.api.auth import Credentials
from dev.bank.api.rate_limits import RateLimits
from dev.bank.bank import Bank
from dev.bank.purchases.file import PurchaseFile

FOLDER = Path(__file__).parents[3] / os.environ.get("SLUICE_TEST_DATA", "../shared/data")
FILE = FOLDER / "birmingham" / "transactions.csv.gz"
HEADERS = {"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "secret"}

pytestmark = pytest.mark.skipif(
    not FILE.is_file(), reason=f"no purchases at {FILE}; name their folder in SLUICE_TEST_DATA"
)


class Record(Struct):
    transaction_id: str
    amount: Decimal
    iso_currency_code: str
    merchant_entity_id: str
    merchant_name: str


class BankResponse(Struct):
    public_token: str = ""
    access_token: str = ""
    added: list[Record] = []
    next_cursor: str = ""
    has_more: bool = False


async def post(client: httpx.AsyncClient, path: str, **fields: Any) -> BankResponse:
    response = await client.post(path, json=fields)
    return msgspec.json.decode(response.raise_for_status().content, type=BankResponse)


async def drain(client: httpx.AsyncClient, item: int) -> AsyncIterator[Record]:
    create = {"institution_id": "ins_109508", "initial_products": ["transactions"]}
    options = {"override_username": f"user_{item}"}
    created = await post(client, "/sandbox/public_token/create", **create, options=options)
    exchanged = await post(client, "/item/public_token/exchange", public_token=created.public_token)
    cursor, has_more = "", True
    while has_more:
        fields = {"access_token": exchanged.access_token, "cursor": cursor, "count": 500}
        page = await post(client, "/transactions/sync", **fields)
        for record in page.added:
            yield record
        cursor, has_more = page.next_cursor, page.has_more


async def read(bank: Bank, items: int) -> tuple[list[str], Counter[str], dict[str, Decimal], set[str], set[str]]:
    app = create_app(bank, Credentials("client", "secret"), RateLimits(None))
    ids: list[str] = []
    rows = Counter[str]()
    sums: dict[str, Decimal] = {}
    merchants: set[str] = set()
    names: set[str] = set()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bank", headers=HEADERS) as client:
        for item in range(items):
            async for record in drain(client, item):
                currency = record.iso_currency_code
                ids.append(record.transaction_id)
                rows[currency] += 1
                sums[currency] = sums.get(currency, Decimal()) + record.amount
                merchants.add(record.merchant_entity_id)
                names.add(record.merchant_name)
    return ids, rows, sums, merchants, names


def test_every_purchase_is_served_once_and_to_the_penny(bank: Bank) -> None:
    file = PurchaseFile(bank.key, FILE)
    ids, rows, sums, merchants, names = asyncio.run(read(replace(bank, purchases=file), file.item_count))
    file.close()
    assert len(ids) == len(set(ids)) == rows.total() == 185_908
    assert len(rows) == 19
    assert sums["GBP"] == Decimal("31970754.72")
    assert len(merchants) == len(names)
