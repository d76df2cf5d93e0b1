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
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.provider import ErrorAction
from etl.declare.source import Feed, Snapshot, Window
from etl.errors import ProviderRefused, ProviderUnavailable, RetryAfter, TokenUnreadable
from etl.settings import Endpoint
from etl.sync.plan import source_of
from etl.sync.provider.client import MAX_WAIT_IN_TASK, ProviderCallFailed, ProviderClient, open_client
from etl.sync.provider.pages import AccountReader, prefetch
from etl.sync.records.frames import Header
from etl.sync.store import chunks, provider_accounts
from etl.sync.store.chunks import PlannedChunk
from etl.sync.store.landing import DrainedAccount, Landing, Manifest
from etl.sync.store.provider_accounts import ProviderAccount
from etl.sync.store.token_cipher import TokenCipher


class ProviderRetryAfter(RetryAfter):
    """A provider wants to be left alone for longer than a task can wait."""

    def __init__(self, provider: str, chunk_id: int, detail: str, wait: timedelta) -> None:
        super().__init__(
            f"{provider} answers {detail}, and wants to be asked again after {wait}; "
            f"then chunk {chunk_id} starts afresh. No cursor moved.",
            wait,
        )


class AccountOutcome(Enum):
    """What came of a provider account."""

    DRAINED = "drained"
    STOPPED = "stopped"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """It answered in a way that no declared rule covers."""
    UNREADABLE = "unreadable"
    """None of the keys decrypts its access token."""


OUTCOME_BY_ACTION = {
    ErrorAction.STOP_ACCOUNT: AccountOutcome.STOPPED,
    ErrorAction.NOT_READY: AccountOutcome.NOT_READY,
    ErrorAction.RESTART_FEED: AccountOutcome.UNREACHABLE,
    ErrorAction.RETRY: AccountOutcome.UNREACHABLE,
}
"""What an account comes to when the provider still asks for an action in the end."""


@dataclass(frozen=True)
class DownloadResult:
    """What came of one account: its pages that landed, or what was found instead."""

    outcome: AccountOutcome
    drained_account: DrainedAccount | None = None
    reason: str = ""


@dataclass
class ChunkOutcomes:
    """What came of all accounts of a chunk."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[ProviderAccount, DownloadResult]] = field(default_factory=list)

    def add(self, account: ProviderAccount, result: DownloadResult) -> None:
        """Count one account."""
        self.counts[result.outcome.value] += 1
        if result.outcome is not AccountOutcome.DRAINED:
            self.skipped.append((account, result))


log = logging.getLogger(__name__)

MAX_RESCHEDULED_ATTEMPTS = 4
"""Attempts of a chunk that give way when an account is told to wait; later ones leave the account out instead."""

MAX_RESCHEDULE_DELAY = timedelta(hours=1)
"""The longest wait that a chunk gives way for; an account that is told a longer one is left out."""

MAX_RESTARTS = 5
"""Times that one account's feed is restarted from its first cursor in one download; then from its beginning."""

DRAIN_TIME_SHARE = 0.75
"""Share of a task's time after which accounts are left out as they are, so that a slow one costs the others nothing."""


def download(
    entity: Entity,
    run_id: str,
    ordinal: int,
    *,
    db: Connection,
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
    chunk = chunks.open_attempt(db, entity=entity.name, run_id=run_id, ordinal=ordinal)
    source = source_of(entity, chunk.days)
    landing = Landing(root, chunk.chunk_id, chunk.attempt)
    accounts = provider_accounts.read_pages(db, chunk.bounds, provider=entity.provider.name, feed=source.name)
    tally = ChunkOutcomes()
    with chunks.closing_attempt(db, chunk, tally.counts), landing.manifest() as manifest:
        drains = _ChunkDownload(entity, source, chunk, landing, cipher, tally)
        asyncio.run(drains.run(accounts, manifest, endpoint=endpoint, limiter=limiter))
        _record_skipped(chunk, tally, db=db)
        if not tally.counts[AccountOutcome.DRAINED.value]:
            _raise_if_nothing_downloaded(entity, chunk.chunk_id, tally)
    log.info("%s: chunk %d, attempt %d: %s", entity.name, chunk.chunk_id, chunk.attempt, dict(tally.counts))
    return ordinal


def _record_skipped(chunk: PlannedChunk, outcomes: ChunkOutcomes, *, db: Connection) -> None:
    """Keep the reason of each account that is left out, and stop those that their users must mend."""
    for account, result in outcomes.skipped:
        chunks.record_skipped_account(
            db, chunk, account.provider_account_id, outcome=result.outcome.value, reason=result.reason
        )
        if result.outcome is AccountOutcome.STOPPED:
            provider_accounts.stop(db, account, reason=result.reason)


def _raise_if_nothing_downloaded(entity: Entity, chunk_id: int, outcomes: ChunkOutcomes) -> None:
    """Fail a chunk of which nothing was drained, unless that is its users' or the calendar's doing."""
    found = {result.outcome: (account, result.reason) for account, result in outcomes.skipped}
    if AccountOutcome.UNREACHABLE in found:
        raise ProviderUnavailable(entity.provider.name, chunk_id, found[AccountOutcome.UNREACHABLE][1])
    if AccountOutcome.REFUSED in found:
        raise ProviderRefused(entity.provider.name, found[AccountOutcome.REFUSED][1])
    if AccountOutcome.UNREADABLE in found:
        raise TokenUnreadable(found[AccountOutcome.UNREADABLE][0].provider_account_id)


@dataclass(frozen=True)
class _ChunkDownload:
    """Drains accounts side by side, some at a time, in the order of their ids."""

    entity: Entity
    source: Feed | Snapshot | Window
    chunk: PlannedChunk
    landing: Landing
    cipher: TokenCipher
    outcomes: ChunkOutcomes

    async def run(
        self,
        accounts: Iterator[list[ProviderAccount]],
        manifest: Manifest,
        *,
        endpoint: Endpoint,
        limiter: Limiter,
    ) -> None:
        at_once = asyncio.Semaphore(self.entity.provider.concurrency)
        allowed = self.entity.timeout * DRAIN_TIME_SHARE
        end = asyncio.get_running_loop().time() + allowed.total_seconds()
        async with open_client(self.entity.provider, endpoint, limiter) as client:

            async def drain(account: ProviderAccount) -> DownloadResult:
                try:
                    async with at_once, asyncio.timeout_at(end):
                        return await self._download_account(client, account, restarts_left=MAX_RESTARTS)
                except TimeoutError:
                    return DownloadResult(
                        AccountOutcome.UNREACHABLE, reason=f"no end of the account within {allowed} of its chunk"
                    )

            for some in accounts:
                for account, result in zip(some, await _gather(drain(account) for account in some), strict=True):
                    self.outcomes.add(account, result)
                    if result.drained_account is not None:
                        manifest.add(result.drained_account)

    async def _download_account(
        self, client: ProviderClient, account: ProviderAccount, *, restarts_left: int
    ) -> DownloadResult:
        try:
            return DownloadResult(AccountOutcome.DRAINED, drained_account=await self._land_pages(client, account))
        except TokenUnreadable as unreadable:
            return DownloadResult(AccountOutcome.UNREADABLE, reason=str(unreadable))
        except ProviderRefused as refusal:
            return DownloadResult(AccountOutcome.REFUSED, reason=refusal.detail)
        except ProviderCallFailed as refused:
            if refused.action is ErrorAction.RESTART_FEED and restarts_left:
                return await self._download_account(client, account, restarts_left=restarts_left - 1)
            if refused.action is ErrorAction.RESTART_FEED and self._can_read_in_full(account):
                return await self._download_account(
                    client, replace(account, needs_full_read=True), restarts_left=MAX_RESTARTS
                )
            self._reschedule_if_long_wait(refused)
            return DownloadResult(OUTCOME_BY_ACTION[refused.action], reason=refused.code)

    def _reschedule_if_long_wait(self, failure: ProviderCallFailed) -> None:
        """End the attempt if the provider is to be asked again later, but not for ever."""
        told = failure.retry_after if failure.action is ErrorAction.RETRY else None
        if told and MAX_WAIT_IN_TASK < told <= MAX_RESCHEDULE_DELAY and self.chunk.attempt <= MAX_RESCHEDULED_ATTEMPTS:
            raise ProviderRetryAfter(self.entity.provider.name, self.chunk.chunk_id, failure.code, told)

    def _can_read_in_full(self, account: ProviderAccount) -> bool:
        """Return whether a cursor that leads nowhere can be left behind, by reading the feed from its beginning."""
        return isinstance(self.source, Feed) and bool(account.cursor) and not account.needs_full_read

    async def _land_pages(self, client: ProviderClient, account: ProviderAccount) -> DrainedAccount:
        """Land one account's pages, over those of a loop that was restarted."""
        arrivals = self.landing.account_pages(account.provider_account_id)
        async with aclosing(prefetch(self._read_pages(client, account))) as pages:
            async for header, body in pages:
                await asyncio.to_thread(arrivals.add, header, body)
        return arrivals.finish()

    def _read_pages(self, client: ProviderClient, account: ProviderAccount) -> AsyncIterator[tuple[Header, bytes]]:
        reader = AccountReader(
            client,
            account.provider_account_id,
            self.cipher.decrypt(account.access_token, provider_account_id=account.provider_account_id),
            self.chunk.page_size,
        )
        if isinstance(self.source, Feed) and account.needs_full_read:
            return reader.read_full_feed(self.source, cursor=account.cursor)
        if isinstance(self.source, Feed):
            return reader.read_feed(self.source, cursor=account.cursor)
        if isinstance(self.source, Window) and self.chunk.days:
            return reader.read_window(self.source, days=self.chunk.days)
        return reader.read_snapshot(self.source)


async def _gather(coroutines: Iterable[Coroutine[None, None, DownloadResult]]) -> list[DownloadResult]:
    """Await all; the first error ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(drain) for drain in coroutines]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
