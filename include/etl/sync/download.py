"""Download of a chunk: each provider account's feed, snapshot or window, read to its end into landing pages.

An account's pages land completely or not at all. An account that cannot be read is skipped with its reason recorded;
its cursor does not move, and the other accounts are not affected.
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
    """A provider must not be called again for longer than a task can wait."""

    def __init__(self, provider: str, chunk_id: int, detail: str, wait: timedelta) -> None:
        super().__init__(
            f"{provider}: {detail}, retry after {wait}; chunk {chunk_id} is then downloaded from its beginning. "
            "No cursor moved.",
            wait,
        )


class AccountOutcome(Enum):
    """How the download of a provider account ended."""

    DRAINED = "drained"
    STOPPED = "stopped"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """The provider's response is not covered by any declared rule."""
    UNREADABLE = "unreadable"
    """None of the keys decrypts its access token."""


OUTCOME_BY_ACTION = {
    ErrorAction.STOP_ACCOUNT: AccountOutcome.STOPPED,
    ErrorAction.NOT_READY: AccountOutcome.NOT_READY,
    ErrorAction.RESTART_FEED: AccountOutcome.UNREACHABLE,
    ErrorAction.RETRY: AccountOutcome.UNREACHABLE,
}
"""Outcome of an account whose last response still asks for an action."""


@dataclass(frozen=True)
class DownloadResult:
    """Result for one account: its landed pages, or the reason why there are none."""

    outcome: AccountOutcome
    drained_account: DrainedAccount | None = None
    reason: str = ""


@dataclass
class ChunkOutcomes:
    """Outcomes of all accounts of a chunk: their counts, and the accounts that were skipped."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[ProviderAccount, DownloadResult]] = field(default_factory=list)

    def add(self, account: ProviderAccount, result: DownloadResult) -> None:
        """Count one account."""
        self.counts[result.outcome.value] += 1
        if result.outcome is not AccountOutcome.DRAINED:
            self.skipped.append((account, result))


log = logging.getLogger(__name__)

MAX_RESCHEDULED_ATTEMPTS = 4
"""Attempts of a chunk that are rescheduled if an account has to wait; later attempts skip the account instead."""

MAX_RESCHEDULE_DELAY = timedelta(hours=1)
"""Longest wait for which a chunk is rescheduled; an account that has to wait longer is skipped."""

MAX_RESTARTS = 5
"""Restarts of an account's feed from its first cursor in one download; after these it is read from its beginning."""

DRAIN_TIME_SHARE = 0.75
"""Share of a task's timeout after which unfinished accounts are skipped, so that the others can still be loaded."""


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

    An attempt that is killed or runs out of memory stays open, and the next one requests pages of half the size.

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
        The rate limits that all workers share.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    ProviderRetryAfter
        If an account has to wait, and the chunk was not rescheduled too often.
    ProviderUnavailable
        If no account could be drained, and a retry may succeed.
    TokenUnreadable
        If no account could be drained, because no key decrypts the access tokens.
    ProviderRefused
        If no account could be drained, and no rule covers the provider's response.
    """
    chunk = chunks.open_attempt(db, entity=entity.name, run_id=run_id, ordinal=ordinal)
    source = source_of(entity, chunk.days)
    landing = Landing(root, chunk.chunk_id, chunk.attempt)
    account_batches = provider_accounts.read_pages(db, chunk.bounds, provider=entity.provider.name, feed=source.name)
    outcomes = ChunkOutcomes()
    with chunks.closing_attempt(db, chunk, outcomes.counts), landing.manifest() as manifest:
        chunk_download = _ChunkDownload(entity, source, chunk, landing, cipher, outcomes)
        asyncio.run(chunk_download.run(account_batches, manifest, endpoint=endpoint, limiter=limiter))
        _record_skipped(chunk, outcomes, db=db)
        if not outcomes.counts[AccountOutcome.DRAINED.value]:
            _raise_if_any_failed(entity, chunk.chunk_id, outcomes)
    log.info("%s: chunk %d, attempt %d: %s", entity.name, chunk.chunk_id, chunk.attempt, dict(outcomes.counts))
    return ordinal


def _record_skipped(chunk: PlannedChunk, outcomes: ChunkOutcomes, *, db: Connection) -> None:
    """Record the reason of each skipped account, and stop the accounts that their users must fix."""
    for account, result in outcomes.skipped:
        chunks.record_skipped_account(
            db, chunk, account.provider_account_id, outcome=result.outcome.value, reason=result.reason
        )
        if result.outcome is AccountOutcome.STOPPED:
            provider_accounts.stop(db, account, reason=result.reason)


def _raise_if_any_failed(entity: Entity, chunk_id: int, outcomes: ChunkOutcomes) -> None:
    """Raise for a chunk without a drained account, unless all its accounts are stopped or not ready yet."""
    last_skipped = {result.outcome: (account, result.reason) for account, result in outcomes.skipped}
    if AccountOutcome.UNREACHABLE in last_skipped:
        raise ProviderUnavailable(entity.provider.name, chunk_id, last_skipped[AccountOutcome.UNREACHABLE][1])
    if AccountOutcome.REFUSED in last_skipped:
        raise ProviderRefused(entity.provider.name, last_skipped[AccountOutcome.REFUSED][1])
    if AccountOutcome.UNREADABLE in last_skipped:
        raise TokenUnreadable(last_skipped[AccountOutcome.UNREADABLE][0].provider_account_id)


@dataclass(frozen=True)
class _ChunkDownload:
    """Drains accounts concurrently, in batches by id."""

    entity: Entity
    source: Feed | Snapshot | Window
    chunk: PlannedChunk
    landing: Landing
    cipher: TokenCipher
    outcomes: ChunkOutcomes

    async def run(
        self,
        account_batches: Iterator[list[ProviderAccount]],
        manifest: Manifest,
        *,
        endpoint: Endpoint,
        limiter: Limiter,
    ) -> None:
        semaphore = asyncio.Semaphore(self.entity.provider.concurrency)
        time_limit = self.entity.timeout * DRAIN_TIME_SHARE
        end = asyncio.get_running_loop().time() + time_limit.total_seconds()
        async with open_client(self.entity.provider, endpoint, limiter) as client:

            async def download_one(account: ProviderAccount) -> DownloadResult:
                try:
                    async with semaphore, asyncio.timeout_at(end):
                        return await self._download_account(client, account, restarts_left=MAX_RESTARTS)
                except TimeoutError:
                    return DownloadResult(
                        AccountOutcome.UNREACHABLE, reason=f"not drained within the chunk's time limit of {time_limit}"
                    )

            for accounts in account_batches:
                results = await _gather(download_one(account) for account in accounts)
                for account, result in zip(accounts, results, strict=True):
                    self.outcomes.add(account, result)
                    if result.drained_account is not None:
                        manifest.add(result.drained_account)

    async def _download_account(
        self, client: ProviderClient, account: ProviderAccount, *, restarts_left: int
    ) -> DownloadResult:
        try:
            return DownloadResult(AccountOutcome.DRAINED, drained_account=await self._land_pages(client, account))
        except TokenUnreadable as error:
            return DownloadResult(AccountOutcome.UNREADABLE, reason=str(error))
        except ProviderRefused as error:
            return DownloadResult(AccountOutcome.REFUSED, reason=error.detail)
        except ProviderCallFailed as failure:
            if failure.action is ErrorAction.RESTART_FEED and restarts_left:
                return await self._download_account(client, account, restarts_left=restarts_left - 1)
            if failure.action is ErrorAction.RESTART_FEED and self._can_read_in_full(account):
                return await self._download_account(
                    client, replace(account, needs_full_read=True), restarts_left=MAX_RESTARTS
                )
            self._reschedule_if_long_wait(failure)
            return DownloadResult(OUTCOME_BY_ACTION[failure.action], reason=failure.code)

    def _reschedule_if_long_wait(self, failure: ProviderCallFailed) -> None:
        """Raise, to end the attempt, if the provider asks for a wait that is within the limits of rescheduling."""
        wait = failure.retry_after if failure.action is ErrorAction.RETRY else None
        if wait and MAX_WAIT_IN_TASK < wait <= MAX_RESCHEDULE_DELAY and self.chunk.attempt <= MAX_RESCHEDULED_ATTEMPTS:
            raise ProviderRetryAfter(self.entity.provider.name, self.chunk.chunk_id, failure.code, wait)

    def _can_read_in_full(self, account: ProviderAccount) -> bool:
        """Return whether the feed can be read from its beginning, because its cursor cannot be continued from."""
        return isinstance(self.source, Feed) and bool(account.cursor) and not account.needs_full_read

    async def _land_pages(self, client: ProviderClient, account: ProviderAccount) -> DrainedAccount:
        """Land one account's pages, overwriting those from before a restart of its feed."""
        landed_pages = self.landing.account_pages(account.provider_account_id)
        async with aclosing(prefetch(self._read_pages(client, account))) as pages:
            async for header, body in pages:
                await asyncio.to_thread(landed_pages.add, header, body)
        return landed_pages.finish()

    def _read_pages(self, client: ProviderClient, account: ProviderAccount) -> AsyncIterator[tuple[Header, bytes]]:
        reader = AccountReader(
            client,
            account.provider_account_id,
            self.cipher.decrypt(account.access_token, provider_account_id=account.provider_account_id),
            self.chunk.page_size,
            account.generation,
        )
        if isinstance(self.source, Feed) and account.needs_full_read:
            return reader.read_full_feed(self.source, cursor=account.cursor)
        if isinstance(self.source, Feed):
            return reader.read_feed(self.source, cursor=account.cursor)
        if isinstance(self.source, Window) and self.chunk.days:
            return reader.read_window(self.source, days=self.chunk.days)
        return reader.read_snapshot(self.source)


async def _gather(coroutines: Iterable[Coroutine[None, None, DownloadResult]]) -> list[DownloadResult]:
    """Return the results of all coroutines; the first error cancels the others and is raised, not as a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
