"""Download of the accounts of a chunk, many at a time; an account that has to wait does not hold up the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.source import Feed, Recent, Snapshot, Window
from etl.errors import RetryAfter
from etl.settings import Endpoint
from etl.sync import recent
from etl.sync.drain.account import AccountDownload, may_continue
from etl.sync.drain.outcome import AccountOutcome, ChunkOutcomes, DownloadResult
from etl.sync.logins.provider_calls import ProviderCalls
from etl.sync.logins.provider_tokens import ProviderTokens
from etl.sync.logins.store.provider_accounts import ProviderAccount
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.provider.client import ProviderClient, open_client
from etl.sync.store import interruptions, unfinished_downloads
from etl.sync.store.chunks import PlannedChunk
from etl.sync.store.interruptions import Watch
from etl.sync.store.landing import Landing, Manifest

MAX_RESCHEDULED_ATTEMPTS = 4
"""Attempts of a chunk that are rescheduled if all its accounts have to wait; later attempts skip the accounts."""

MAX_RESCHEDULE_DELAY = timedelta(hours=1)
"""Longest wait for which a chunk is rescheduled; an account that has to wait longer is skipped."""

MAX_WAIT_AT_END = timedelta(minutes=2)
"""Longest time that a chunk waits, once all other accounts are drained, to try those again that have to wait."""

MAX_WAITING = 16
"""Accounts that must wait, while none was drained, after which the others are not asked any more in this attempt: the
provider means all calls of the client."""

DRAIN_TIME_SHARE = 0.75
"""Share of a task's timeout after which unfinished accounts are skipped, so that the others can still be loaded."""

log = logging.getLogger(__name__)


class ProviderRetryAfter(RetryAfter):
    """A provider must not be called again for longer than a task can wait."""

    def __init__(self, provider: str, chunk_id: int, detail: str, wait: timedelta) -> None:
        super().__init__(
            f"{provider}: {detail}, retry after {wait}; none of the accounts of chunk {chunk_id} could be drained, and "
            "it is then downloaded again. No cursor moved.",
            wait,
        )


@dataclass
class _WaitingAccount:
    """An account that the provider must not be asked about yet.

    Parameters
    ----------
    download
        Its download, which can continue.
    result
        The result so far.
    until
        When it may be asked again, by the clock of the event loop.
    """

    download: AccountDownload
    result: DownloadResult
    until: float


@dataclass
class ChunkDownload:
    """Drains the accounts of a chunk, in batches by id.

    Parameters
    ----------
    entity, source
        What is read.
    chunk
        The chunk and its attempt.
    landing
        Where the pages are written to.
    cipher
        Decrypts access tokens.
    db
        The warehouse.
    watch
        Knows which accounts killed the process in earlier attempts.
    outcomes
        Filled with the outcomes.
    """

    entity: Entity
    source: Feed | Snapshot | Window
    chunk: PlannedChunk
    landing: Landing
    cipher: TokenCipher
    db: Connection
    watch: Watch
    outcomes: ChunkOutcomes
    _waiting: list[_WaitingAccount] = field(default_factory=list, init=False)
    _end: float = field(default=0.0, init=False)
    _is_any_drained: bool = field(default=False, init=False)

    async def run(
        self,
        account_batches: Iterator[list[ProviderAccount]],
        manifest: Manifest,
        *,
        endpoint: Endpoint,
        limiter: Limiter,
    ) -> None:
        """Drain the accounts, and add those that were drained to the manifest.

        Raises
        ------
        ProviderRetryAfter
            If no account could be drained since all have to wait, and the chunk was not rescheduled too often.
        """
        self._end = _now() + self._time_limit.total_seconds()
        tokens, calls = ProviderTokens(self.db, self.cipher), ProviderCalls(self.db)
        async with open_client(self.entity.provider, endpoint, limiter, tokens=tokens, ledger=calls) as client:
            for accounts in account_batches:
                asked = [each for each in accounts if each.provider_account_id not in self.watch.culprits]
                for account in accounts:
                    if account.provider_account_id in self.watch.culprits:
                        reason = interruptions.REASON
                        self.outcomes.add(account, DownloadResult(AccountOutcome.QUARANTINED, reason=reason))
                await self._drain(self._downloads(client, asked), manifest)
            await self._drain_waiting(manifest)

    @property
    def _time_limit(self) -> timedelta:
        return self.entity.timeout * DRAIN_TIME_SHARE

    @property
    def _may_reschedule(self) -> bool:
        return self.chunk.attempt <= MAX_RESCHEDULED_ATTEMPTS

    def _downloads(self, client: ProviderClient, accounts: list[ProviderAccount]) -> list[AccountDownload]:
        """Return the downloads of some accounts, each with the pages that an earlier attempt kept."""
        earlier, days = {}, {}
        account_ids = [account.provider_account_id for account in accounts]
        if is_resumable := may_continue(self.entity, self.source):
            earlier = unfinished_downloads.find(self.db, account_ids, feed=self.source.name)
        if isinstance(self.source, Recent) and self.chunk.opened_at is not None:
            today = self.chunk.opened_at.astimezone(UTC).date()
            days = recent.windows(self.db, self.source, account_ids, today=today)
        return [
            AccountDownload(
                client,
                account,
                self.source,
                self.landing,
                self.chunk.page_size,
                days.get(account.provider_account_id, self.chunk.days),
                self._decrypt,
                self.db,
                earlier.get(account.provider_account_id),
                is_resumable,
            )
            for account in accounts
        ]

    def _decrypt(self, account: ProviderAccount) -> str:
        return self.cipher.decrypt(account.access_token, provider_account_id=account.provider_account_id)

    async def _drain(self, downloads: list[AccountDownload], manifest: Manifest) -> None:
        """Drain some accounts; put those aside that have to wait.

        Those whose pages turn out to be large, and those that may kill the process, are drained one by one, after the
        others.
        """
        suspected = [each for each in downloads if self._is_suspected(each)]
        others = [each for each in downloads if not self._is_suspected(each)]
        await self._drain_together([each for each in others if not each.is_alone], manifest)
        for download in (each for each in others if each.is_alone):
            await self._drain_together([download], manifest)
        for download in suspected:
            download.is_alone = True
            self.watch.suspect(download.account.provider_account_id)
            await self._drain_together([download], manifest)
        if suspected:
            self.watch.suspect(None)

    def _is_suspected(self, download: AccountDownload) -> bool:
        return self.watch.is_suspected(download.account.provider_account_id)

    async def _drain_together(self, downloads: list[AccountDownload], manifest: Manifest) -> None:
        semaphore = asyncio.Semaphore(self.entity.provider.concurrency)

        async def drain_one(download: AccountDownload) -> DownloadResult:
            async with semaphore:
                result = self._result_unasked() or await download.run(end=self._end, out_of_time=out_of_time)
            download.is_alone |= result.must_be_alone
            if result.wait:
                self._waiting.append(_WaitingAccount(download, result, _now() + result.wait.total_seconds()))
            self._is_any_drained |= result.outcome is AccountOutcome.DRAINED
            return result

        out_of_time = f"not drained within the chunk's time limit of {self._time_limit}"
        results = await _gather(drain_one(download) for download in downloads)
        for download, result in zip(downloads, results, strict=True):
            if not result.wait and not result.must_be_alone:
                self.outcomes.add(download.account, result)
            if result.drained_account is not None:
                manifest.add(result.drained_account)

    def _result_unasked(self) -> DownloadResult | None:
        """Return the result of an account that is not asked, since the provider has told enough others to wait."""
        if self._is_any_drained or len(self._waiting) < MAX_WAITING or not self._may_reschedule:
            return None
        return self._waiting[-1].result

    async def _drain_waiting(self, manifest: Manifest) -> None:
        """Try the accounts once more that had to wait; skip those whose wait is too long."""
        if not self._waiting:
            return
        self._reschedule_if_none_can_be_drained()
        waiting, self._waiting = self._waiting, []
        end_of_wait = min(_now() + MAX_WAIT_AT_END.total_seconds(), self._end)
        ready = [each for each in waiting if each.until <= end_of_wait]
        if ready:
            await asyncio.sleep(max(each.until for each in ready) - _now())
            await self._drain([each.download for each in ready], manifest)
        for each in (*(each for each in waiting if each.until > end_of_wait), *self._waiting):
            self.outcomes.add(each.download.account, _with_time(each))

    def _reschedule_if_none_can_be_drained(self) -> None:
        """Raise, to end the attempt and release its slot, if every account that a retry may help has to wait."""
        others = (AccountOutcome.DRAINED, AccountOutcome.UNREACHABLE, AccountOutcome.UNFINISHED)
        if any(self.outcomes.counts[outcome.value] for outcome in others) or not self._may_reschedule:
            return
        first = min(self._waiting, key=lambda each: each.until)
        wait = timedelta(seconds=first.until - _now())
        if timedelta() < wait <= MAX_RESCHEDULE_DELAY:
            wait = first.result.wait or wait
            raise ProviderRetryAfter(self.entity.provider.name, self.chunk.chunk_id, first.result.reason, wait)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _with_time(waiting: _WaitingAccount) -> DownloadResult:
    """Return the result of an account with the time at which it may be asked again."""
    until = datetime.now(UTC) + timedelta(seconds=max(waiting.until - _now(), 0))
    reason = f"{waiting.result.reason}; to be asked again after {until:%Y-%m-%d %H:%M:%S} UTC"
    return replace(waiting.result, reason=reason)


async def _gather(coroutines: Iterable[Coroutine[None, None, DownloadResult]]) -> list[DownloadResult]:
    """Return the results of all coroutines; the first error cancels the others and is raised, not as a group."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
