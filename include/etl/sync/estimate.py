"""Estimates of a sync run before it starts: its chunks, its requests and their minimum duration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from etl.chunking import count_chunks
from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.declare.provider import LimitScope
from etl.declare.source import Source
from etl.sync.logins import provider_calls
from etl.sync.store import chunks, status


@dataclass(frozen=True)
class RunEstimate:
    """What a run would do.

    Parameters
    ----------
    entity
        Its entity.
    unit
        What the chunks consist of: provider accounts or raw batches.
    unit_count
        Number of these units.
    chunks
        Chunks of the run.
    requests
        Requests to the provider, estimated from the latest downloads.
    min_duration
        Least time that the provider's rate limits and quotas allow for these requests, however many workers there are.
    late_logins
        Logins that have no call left of their quota now, or need more calls than it has.
    """

    entity: str
    unit: str
    unit_count: int
    chunks: int
    requests: int
    min_duration: timedelta
    late_logins: int = 0


def estimate_run(entity: Entity, *, db: Connection) -> RunEstimate:
    """Return what a run of an entity would do now; nothing is written."""
    if isinstance(entity.source, RawOf):
        batches = chunks.count_pending_batches(db, entity=entity.name, sources=entity.sources, version=entity.version)
        chunk_count = count_chunks(batches, size=entity.chunk_size, maximum=entity.max_chunks)
        return RunEstimate(entity.name, "raw batches", batches, chunk_count, 0, timedelta())
    accounts = status.count_active_accounts(db, provider=entity.provider.name)
    pages = status.pages_per_account(db, source=entity.source.name) or 1.0
    requests = math.ceil(accounts * pages)
    quota, late, wait = entity.source.quota, 0, timedelta()
    if quota is not None:
        use = provider_calls.count_used(db, provider=entity.provider.name, source=entity.source.name, quota=quota)
        spans = math.ceil(pages / quota.calls)
        late, wait = accounts if spans > 1 else use.exhausted, (spans - 1) * quota.per
    return RunEstimate(
        entity.name,
        "provider accounts",
        accounts,
        count_chunks(accounts, size=entity.chunk_size, maximum=entity.max_chunks),
        requests,
        max(wait, min_duration(entity.source, requests)),
        late,
    )


def min_duration(source: Source, requests: int) -> timedelta:
    """Return the least time for a number of requests under the limits that count all calls of the client."""
    durations = [
        max(0, requests - limit.burst) * limit.emission_interval
        for limit in source.limits
        if limit.scope is LimitScope.CLIENT
    ]
    return max(durations, default=timedelta())
