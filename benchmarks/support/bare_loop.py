"""A bare aiohttp loop: it makes the requests that sealed batches tell of once more, and drops what it receives."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import aiohttp
import msgspec
from psycopg.rows import scalar_row
from upath import UPath

from etl.catalog.providers.plaid import PLAID
from etl.db.connection import Connection
from etl.declare.provider import Placeholder
from etl.settings import Endpoint
from etl.sync.provider.client import fill_template
from etl.sync.store import raw_batches
from etl.sync.store.token_cipher import TokenCipher

_TOKENS = "select provider_account_id, access_token from core.provider_accounts"
_BATCHES = "select raw_id from etl.raw_batches order by raw_id"

Requests: TypeAlias = Sequence[Sequence[tuple[str, bytes]]]
"""For each account the path and the body of its requests, one after the other."""


def recorded_requests(db: Connection, *, root: UPath, cipher: TokenCipher) -> Requests:
    """Return the requests whose answers were sealed."""
    tokens = {
        account: cipher.decrypt(token, provider_account_id=account) for account, token in db.execute(_TOKENS).fetchall()
    }
    found: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
    with db.cursor(row_factory=scalar_row) as cursor:
        raw_ids = cursor.execute(_BATCHES).fetchall()
    for raw_id in raw_ids:
        for header, _ in raw_batches.read(root, raw_batches.find(db, raw_id)):
            account = header.provider_account_id
            body = msgspec.json.encode({**header.request, "access_token": tokens[account]})
            found[account].append((header.path, body))
    return list(found.values())


def measure_requests(requests: Requests, *, bank: Endpoint) -> float:
    """Return how long all requests take, those of as many accounts at once as the steps ask for."""
    return asyncio.run(_send_all(requests, bank))


async def _send_all(requests: Requests, bank: Endpoint) -> float:
    at_once = asyncio.Semaphore(PLAID.concurrency)

    async def of_account(session: aiohttp.ClientSession, each: Sequence[tuple[str, bytes]]) -> None:
        async with at_once:
            for path, body in each:
                async with session.post(bank.host + path, data=body) as answer:
                    answer.raise_for_status()
                    async for _ in answer.content.iter_any():
                        pass

    credentials = {Placeholder.CLIENT_ID: bank.login, Placeholder.CLIENT_SECRET: bank.password}
    filled = {name: str(value) for name, value in fill_template(PLAID.headers, credentials).items()}
    headers = {**filled, "Content-Type": "application/json"}
    began = time.perf_counter()
    connector = aiohttp.TCPConnector(limit=PLAID.concurrency)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session, asyncio.TaskGroup() as group:
        for each in requests:
            group.create_task(of_account(session, each))
    return time.perf_counter() - began
