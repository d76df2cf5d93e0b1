"""Download: read the feeds of a chunk's provider accounts until they are drained.

An account lands whole or not at all. One that cannot be read is left out with its reason, its cursor stays, and the
others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from upath import UPath

from etl.declare.entity import Entity
from etl.declare.provider import Action, Feed
from etl.errors import ProviderUnavailable
from etl.settings import Endpoint
from etl.stores import plans, provider_accounts
from etl.stores.landing import Drained, Landing, Manifest
from etl.stores.provider_accounts import ProviderAccount
from etl.stores.tokens import TokenCipher
from etl.stores.warehouse import Warehouse
from etl.wire import feeds
from etl.wire.client import ProviderClient, Refused, open_client
from etl.wire.limits import Limiter

log = logging.getLogger(__name__)

MOST_RESTARTS = 5
"""Times that one account's feed is restarted from its first cursor in one download."""


class Outcome(Enum):
    """What came of a provider account."""

    DRAINED = "drained"
    STOPPED = "stopped"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"


_OUTCOMES = {
    Action.STOP_ACCOUNT: Outcome.STOPPED,
    Action.NOT_READY: Outcome.NOT_READY,
    Action.RESTART_FEED: Outcome.UNREACHABLE,
    Action.RETRY: Outcome.UNREACHABLE,
}


@dataclass(frozen=True)
class _Result:
    """What came of one account: the pages that landed, or what was found instead."""

    outcome: Outcome
    pages: int = 0
    found: str = ""


@dataclass
class _Tally:
    """What came of all accounts of the chunk."""

    outcomes: Counter[str] = field(default_factory=Counter)
    stopped: dict[int, str] = field(default_factory=dict)
    unreachable: str = ""

    def count(self, account: ProviderAccount, result: _Result) -> None:
        self.outcomes[result.outcome.value] += 1
        if result.outcome is Outcome.STOPPED:
            self.stopped[account.provider_account_id] = result.found
        elif result.outcome is Outcome.UNREACHABLE:
            self.unreachable = result.found


def download(
    entity: Entity,
    run_id: str,
    ordinal: int,
    *,
    warehouse: Warehouse,
    root: UPath,
    cipher: TokenCipher,
    endpoint: Endpoint,
    limiter: Limiter,
) -> int:
    """Land the pages of a chunk, as a new attempt, and return its ordinal.

    Parameters
    ----------
    entity, run_id, ordinal
        Which chunk.
    root
        The raw root.
    cipher
        Decrypts access tokens.
    endpoint
        The provider's address and client credentials.
    limiter
        The limits that all workers share.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    ProviderUnavailable
        If not one account could be drained, and some might be later.
    ProviderRefused
        If the provider answered in a way that no rule covers.
    """
    chunk = plans.open_attempt(warehouse, entity=entity.name, run_id=run_id, ordinal=ordinal)
    landing = Landing(root, chunk.chunk_id, chunk.attempt)
    accounts = provider_accounts.pages(
        warehouse, cipher, chunk.bounds, provider=entity.provider.name, feed=entity.feed.name
    )
    with landing.manifest() as manifest:
        tally = asyncio.run(
            _land(
                entity,
                accounts,
                landing,
                manifest,
                endpoint=endpoint,
                limiter=limiter,
                page_size=chunk.page_size,
            )
        )
        for provider_account_id, reason in tally.stopped.items():
            provider_accounts.stop(warehouse, provider_account_id, reason=reason)
        if tally.unreachable and not tally.outcomes[Outcome.DRAINED.value]:
            raise ProviderUnavailable(entity.provider.name, chunk.chunk_id, tally.unreachable)
    plans.close_attempt(warehouse, chunk, dict(tally.outcomes))
    log.info("%s: chunk %d, attempt %d: %s", entity.name, chunk.chunk_id, chunk.attempt, dict(tally.outcomes))
    return ordinal


async def _land(
    entity: Entity,
    accounts: Iterator[list[ProviderAccount]],
    landing: Landing,
    manifest: Manifest,
    *,
    endpoint: Endpoint,
    limiter: Limiter,
    page_size: int,
) -> _Tally:
    tally = _Tally()
    async with open_client(entity.provider, endpoint, limiter) as client:
        at_once = asyncio.Semaphore(entity.provider.concurrency)

        async def drain(account: ProviderAccount) -> _Result:
            async with at_once:
                return await _drain(client, entity.feed, account, landing, page_size)

        for some in accounts:
            for account, result in zip(some, await _all(drain(account) for account in some), strict=True):
                tally.count(account, result)
                if result.outcome is Outcome.DRAINED:
                    manifest.add(Drained(account.provider_account_id, result.pages))
    return tally


async def _drain(
    client: ProviderClient, feed: Feed, account: ProviderAccount, landing: Landing, page_size: int
) -> _Result:
    """Land one account's pages; a restart overwrites them from the first."""
    refused: Refused | None = None
    for _ in range(1 + MOST_RESTARTS):
        pages = 0
        try:
            async for header, body in feeds.pages(
                client,
                feed,
                provider_account_id=account.provider_account_id,
                access_token=account.access_token,
                cursor=account.cursor,
                page_size=page_size,
            ):
                await asyncio.to_thread(landing.write_page, header, body)
                pages += 1
        except Refused as refusal:
            refused = refusal
            if refusal.action is not Action.RESTART_FEED:
                break
        else:
            return _Result(Outcome.DRAINED, pages=pages)
    if refused is None:
        raise AssertionError
    return _Result(_OUTCOMES[refused.action], found=refused.code)


async def _all(drains: Iterable[Coroutine[None, None, _Result]]) -> list[_Result]:
    """Await all; the first error ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(drain) for drain in drains]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
