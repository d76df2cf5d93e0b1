"""Download: read a chunk's provider accounts, each to the end of its feed, snapshot or window.

An account lands whole or not at all. One that cannot be read is left out with its reason, its cursor stays, and the
others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum

from upath import UPath

from etl.clients.rate_limits import Limiter
from etl.db.connection import Warehouse
from etl.declare.entity import Entity
from etl.declare.provider import Action
from etl.declare.source import Feed, Snapshot, Window
from etl.errors import MustWait, ProviderRefused, ProviderUnavailable, TokenUnreadable
from etl.settings import Endpoint
from etl.sync.plan import source_of
from etl.sync.provider.client import LONGEST_WAIT, ProviderClient, Refused, open_client
from etl.sync.provider.pages import Reader, ahead
from etl.sync.records.frames import Header
from etl.sync.store import chunks, provider_accounts
from etl.sync.store.chunks import PlannedChunk
from etl.sync.store.landing import Drained, Landing, Manifest
from etl.sync.store.provider_accounts import ProviderAccount
from etl.sync.store.token_cipher import TokenCipher


class ProviderAsksToWait(MustWait):
    """A provider wants to be left alone for longer than a task can wait."""

    def __init__(self, provider: str, chunk_id: int, found: str, wait: timedelta) -> None:
        super().__init__(
            f"{provider} answers {found}, and wants to be asked again after {wait}; "
            f"then chunk {chunk_id} starts afresh. No cursor moved.",
            wait,
        )


class Outcome(Enum):
    """What came of a provider account."""

    DRAINED = "drained"
    STOPPED = "stopped"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """It answered in a way that no declared rule covers."""
    UNREADABLE = "unreadable"
    """None of the keys decrypts its access token."""


OF_ACTION = {
    Action.STOP_ACCOUNT: Outcome.STOPPED,
    Action.NOT_READY: Outcome.NOT_READY,
    Action.RESTART_FEED: Outcome.UNREACHABLE,
    Action.RETRY: Outcome.UNREACHABLE,
}
"""What an account comes to when the provider still asks for an action in the end."""


@dataclass(frozen=True)
class Result:
    """What came of one account: its pages that landed, or what was found instead."""

    outcome: Outcome
    drained: Drained | None = None
    found: str = ""


@dataclass
class Tally:
    """What came of all accounts of a chunk."""

    outcomes: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[ProviderAccount, Result]] = field(default_factory=list)

    def count(self, account: ProviderAccount, result: Result) -> None:
        """Count one account."""
        self.outcomes[result.outcome.value] += 1
        if result.outcome is not Outcome.DRAINED:
            self.left_out.append((account, result))


log = logging.getLogger(__name__)

ATTEMPTS_THAT_WAIT = 4
"""Attempts of a chunk that give way when an account is told to wait; later ones leave the account out instead."""

LONGEST_ABSENCE = timedelta(hours=1)
"""The longest wait that a chunk gives way for; an account that is told a longer one is left out."""

MOST_RESTARTS = 5
"""Times that one account's feed is restarted from its first cursor in one download; then from its beginning."""

SHARE_TO_DRAIN = 0.75
"""Share of a task's time after which accounts are left out as they are, so that a slow one costs the others nothing."""


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

    An attempt that is killed, or runs out of memory, stays open; the one after it asks for pages of half the size.

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
    ProviderAsksToWait
        If an account is to be asked again later, and the chunk has not given way too often.
    ProviderUnavailable
        If not one account could be drained, and some might be later.
    TokenUnreadable
        If not one account could be drained, for want of the keys.
    ProviderRefused
        If not one account could be drained, and the provider answered in a way that no rule covers.
    """
    chunk = chunks.open_attempt(warehouse, entity=entity.name, run_id=run_id, ordinal=ordinal)
    source = source_of(entity, chunk.days)
    landing = Landing(root, chunk.chunk_id, chunk.attempt)
    accounts = provider_accounts.pages(warehouse, chunk.bounds, provider=entity.provider.name, feed=source.name)
    tally = Tally()
    with chunks.closing_attempt(warehouse, chunk, tally.outcomes), landing.manifest() as manifest:
        drains = _Drains(entity, source, chunk, landing, cipher, tally)
        asyncio.run(drains.run(accounts, manifest, endpoint=endpoint, limiter=limiter))
        _leave_out(chunk, tally, warehouse=warehouse)
        if not tally.outcomes[Outcome.DRAINED.value]:
            _refuse_nothing(entity, chunk.chunk_id, tally)
    log.info("%s: chunk %d, attempt %d: %s", entity.name, chunk.chunk_id, chunk.attempt, dict(tally.outcomes))
    return ordinal


def _leave_out(chunk: PlannedChunk, tally: Tally, *, warehouse: Warehouse) -> None:
    """Keep the reason of each account that is left out, and stop those that their users must mend."""
    for account, result in tally.left_out:
        chunks.leave_out(
            warehouse, chunk, account.provider_account_id, outcome=result.outcome.value, reason=result.found
        )
        if result.outcome is Outcome.STOPPED:
            provider_accounts.stop(warehouse, account, reason=result.found)


def _refuse_nothing(entity: Entity, chunk_id: int, tally: Tally) -> None:
    """Fail a chunk of which nothing was drained, unless that is its users' or the calendar's doing."""
    found = {result.outcome: (account, result.found) for account, result in tally.left_out}
    if Outcome.UNREACHABLE in found:
        raise ProviderUnavailable(entity.provider.name, chunk_id, found[Outcome.UNREACHABLE][1])
    if Outcome.REFUSED in found:
        raise ProviderRefused(entity.provider.name, found[Outcome.REFUSED][1])
    if Outcome.UNREADABLE in found:
        raise TokenUnreadable(found[Outcome.UNREADABLE][0].provider_account_id)


@dataclass(frozen=True)
class _Drains:
    """Drains accounts side by side, some at a time, in the order of their ids."""

    entity: Entity
    source: Feed | Snapshot | Window
    chunk: PlannedChunk
    landing: Landing
    cipher: TokenCipher
    tally: Tally

    async def run(
        self,
        accounts: Iterator[list[ProviderAccount]],
        manifest: Manifest,
        *,
        endpoint: Endpoint,
        limiter: Limiter,
    ) -> None:
        at_once = asyncio.Semaphore(self.entity.provider.concurrency)
        allowed = self.entity.timeout * SHARE_TO_DRAIN
        end = asyncio.get_running_loop().time() + allowed.total_seconds()
        async with open_client(self.entity.provider, endpoint, limiter) as client:

            async def drain(account: ProviderAccount) -> Result:
                try:
                    async with at_once, asyncio.timeout_at(end):
                        return await self._drain(client, account, restarts=MOST_RESTARTS)
                except TimeoutError:
                    return Result(Outcome.UNREACHABLE, found=f"no end of the account within {allowed} of its chunk")

            for some in accounts:
                for account, result in zip(some, await _all(drain(account) for account in some), strict=True):
                    self.tally.count(account, result)
                    if result.drained is not None:
                        manifest.add(result.drained)

    async def _drain(self, client: ProviderClient, account: ProviderAccount, *, restarts: int) -> Result:
        try:
            return Result(Outcome.DRAINED, drained=await self._land(client, account))
        except TokenUnreadable as unreadable:
            return Result(Outcome.UNREADABLE, found=str(unreadable))
        except ProviderRefused as refusal:
            return Result(Outcome.REFUSED, found=refusal.found)
        except Refused as refused:
            if refused.action is Action.RESTART_FEED and restarts:
                return await self._drain(client, account, restarts=restarts - 1)
            if refused.action is Action.RESTART_FEED and self._can_reread(account):
                return await self._drain(client, replace(account, reread=True), restarts=MOST_RESTARTS)
            self._give_way(refused)
            return Result(OF_ACTION[refused.action], found=refused.code)

    def _give_way(self, refused: Refused) -> None:
        """End the attempt if the provider is to be asked again later, but not for ever."""
        told = refused.wait if refused.action is Action.RETRY else None
        if told and LONGEST_WAIT < told <= LONGEST_ABSENCE and self.chunk.attempt <= ATTEMPTS_THAT_WAIT:
            raise ProviderAsksToWait(self.entity.provider.name, self.chunk.chunk_id, refused.code, told)

    def _can_reread(self, account: ProviderAccount) -> bool:
        """Return whether a cursor that leads nowhere can be left behind, by reading the feed from its beginning."""
        return isinstance(self.source, Feed) and bool(account.cursor) and not account.reread

    async def _land(self, client: ProviderClient, account: ProviderAccount) -> Drained:
        """Land one account's pages, over those of a loop that was restarted."""
        arrivals = self.landing.arrivals(account.provider_account_id)
        async with aclosing(ahead(self._read(client, account))) as pages:
            async for header, body in pages:
                await asyncio.to_thread(arrivals.add, header, body)
        return arrivals.drained()

    def _read(self, client: ProviderClient, account: ProviderAccount) -> AsyncIterator[tuple[Header, bytes]]:
        reader = Reader(
            client,
            account.provider_account_id,
            self.cipher.decrypt(account.access_token, provider_account_id=account.provider_account_id),
            self.chunk.page_size,
        )
        if isinstance(self.source, Feed) and account.reread:
            return reader.whole_feed(self.source, cursor=account.cursor)
        if isinstance(self.source, Feed):
            return reader.feed(self.source, cursor=account.cursor)
        if isinstance(self.source, Window) and self.chunk.days:
            return reader.window(self.source, days=self.chunk.days)
        return reader.snapshot(self.source)


async def _all(drains: Iterable[Coroutine[None, None, Result]]) -> list[Result]:
    """Await all; the first error ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(drain) for drain in drains]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
