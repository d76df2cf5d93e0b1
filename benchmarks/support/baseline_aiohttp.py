"""A bare aiohttp loop, which repeats the requests recorded in sealed raw batches and discards the responses."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

import aiohttp
import msgspec
from upath import UPath

from etl.catalog.providers.plaid import PLAID
from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.declare.provider import Placeholder
from etl.settings import Endpoint
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.requests import fill_template
from etl.sync.store import raw_batches

_TOKENS = "select provider_account_id, access_token from core.provider_accounts"
_RAW_IDS = Statement("select raw_id from etl.raw_batches order by raw_id")

Requests: TypeAlias = Sequence[Sequence[tuple[str, bytes]]]
"""For each account the paths and bodies of its requests, in their order."""


def recorded_requests(db: Connection, *, root: UPath, cipher: TokenCipher) -> Requests:
    """Return the requests whose responses were sealed."""
    tokens = {
        account: cipher.decrypt(token, provider_account_id=account) for account, token in db.execute(_TOKENS).fetchall()
    }
    requests: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
    for raw_id in _RAW_IDS.scalars(db):
        for header, _ in raw_batches.read(root, raw_batches.find(db, raw_id)):
            account = header.provider_account_id
            body = msgspec.json.encode({**header.request, "access_token": tokens[account]})
            requests[account].append((header.path, body))
    return list(requests.values())


def measure_requests(requests: Requests, *, bank: Endpoint) -> float:
    """Return the seconds that all requests take, with the concurrency of the steps."""
    return asyncio.run(_send_all(requests, bank))


async def _send_all(requests: Requests, bank: Endpoint) -> float:
    semaphore = asyncio.Semaphore(PLAID.concurrency)

    async def send_in_order(session: aiohttp.ClientSession, account_requests: Sequence[tuple[str, bytes]]) -> None:
        async with semaphore:
            for path, body in account_requests:
                async with session.post(bank.host + path, data=body) as response:
                    response.raise_for_status()
                    async for _ in response.content.iter_any():
                        pass

    credentials = {Placeholder.CLIENT_ID: bank.login, Placeholder.CLIENT_SECRET: bank.password}
    provider_headers = {name: str(value) for name, value in fill_template(PLAID.headers, credentials).items()}
    headers = {**provider_headers, "Content-Type": "application/json"}
    began = time.perf_counter()
    connector = aiohttp.TCPConnector(limit=PLAID.concurrency)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session, asyncio.TaskGroup() as group:
        for account_requests in requests:
            group.create_task(send_in_order(session, account_requests))
    return time.perf_counter() - began
