"""Download of a chunk: each provider account's feed, snapshot or window, read to its end into landing pages.

An account's pages are loaded completely or not at all. An account that cannot be read is skipped with its reason
recorded; its cursor does not move, and the other accounts are not affected.
"""

from __future__ import annotations

import asyncio
import logging

from upath import UPath

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.source import Feed, Recent
from etl.errors import ProviderRefused, ProviderUnavailable, TokenUnreadable
from etl.settings import Endpoint
from etl.sync.drain.chunk import ChunkDownload
from etl.sync.drain.outcome import UNASKED, AccountOutcome, ChunkOutcomes
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.plan import source_of
from etl.sync.store import chunks, interruptions, unfinished_downloads
from etl.sync.store.chunks import PlannedChunk
from etl.sync.store.interruptions import Step
from etl.sync.store.landing import Landing

log = logging.getLogger(__name__)


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

    An attempt that is killed or runs out of memory stays open, and the next one requests pages of half the size. After
    two of them, accounts are read one by one, and the one that kills the process again is quarantined.

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
        If no account could be drained, all have to wait, and the chunk was not rescheduled too often.
    ProviderUnavailable
        If no account could be drained, and a retry may succeed.
    VolumeFull
        If the volume of the raw root has almost no free space.
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
    with (
        chunks.closing_attempt(db, chunk, outcomes.counts),
        interruptions.watch(db, Step.DOWNLOAD, chunk.chunk_id, entity=entity.name) as watch,
    ):
        for account_id in sorted(watch.culprits):
            log.error("%s: chunk %d: account %d: %s", entity.name, chunk.chunk_id, account_id, interruptions.REASON)
            interruptions.quarantine(db, account_id, entity=entity.name, source=source.name)
        with landing.manifest() as manifest:
            chunk_download = ChunkDownload(entity, source, chunk, landing, cipher, db, watch, outcomes)
            asyncio.run(chunk_download.run(account_batches, manifest, endpoint=endpoint, limiter=limiter))
            _record_outcomes(chunk, outcomes, db=db)
            if not outcomes.drained:
                _raise_if_any_failed(entity, chunk.chunk_id, outcomes)
        if isinstance(source, Feed | Recent):
            # Only now: had this process died before, the next attempt would have continued from these pages.
            unfinished_downloads.discard(
                db, outcomes.drained, feed=source.name, chunk_id=chunk.chunk_id, attempt=chunk.attempt
            )
    log.info("%s: chunk %d, attempt %d: %s", entity.name, chunk.chunk_id, chunk.attempt, dict(outcomes.counts))
    return ordinal


def _record_outcomes(chunk: PlannedChunk, outcomes: ChunkOutcomes, *, db: Connection) -> None:
    """Record the reason of each skipped account, and what the pages of the others lack.

    An account that needed a login, and was drained, is active again.
    """
    for account, result in outcomes.skipped:
        chunks.record_skipped_account(
            db,
            chunk,
            account.provider_account_id,
            outcome=result.outcome.value,
            reason=result.reason,
            token_version=None if result.outcome in UNASKED else account.token_version,
        )
    for provider_account_id, gaps in outcomes.gaps.items():
        chunks.record_gaps(db, chunk, provider_account_id, gaps)
    provider_accounts.resume_after_success(db, outcomes.resumed)


def _raise_if_any_failed(entity: Entity, chunk_id: int, outcomes: ChunkOutcomes) -> None:
    """Raise for a chunk without a drained account, unless all its accounts are stopped or not ready yet."""
    last_skipped = {result.outcome: (account, result.reason) for account, result in outcomes.skipped}
    if AccountOutcome.UNREACHABLE in last_skipped:
        raise ProviderUnavailable(entity.provider.name, chunk_id, last_skipped[AccountOutcome.UNREACHABLE][1])
    if AccountOutcome.REFUSED in last_skipped:
        raise ProviderRefused(entity.provider.name, last_skipped[AccountOutcome.REFUSED][1])
    if AccountOutcome.UNREADABLE in last_skipped:
        raise TokenUnreadable(last_skipped[AccountOutcome.UNREADABLE][0].provider_account_id)
