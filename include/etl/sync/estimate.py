"""Estimates of a sync run before it starts: its chunks, its requests and their minimum duration."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    chunk_duration
        Least time that the provider's rate limits allow for a chunk while as many others run as its queue has slots.
    warnings
        What of this the declaration does not allow for, each with what to do.
    """

    entity: str
    unit: str
    unit_count: int
    chunks: int
    requests: int
    min_duration: timedelta
    late_logins: int = 0
    chunk_duration: timedelta = timedelta()
    warnings: tuple[str, ...] = ()


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
    chunk_count = count_chunks(accounts, size=entity.chunk_size, maximum=entity.max_chunks)
    duration = max(wait, min_duration(entity.source, requests))
    side_by_side = min(chunk_count, entity.queue.slots)
    chunk_duration = min_duration(entity.source, math.ceil(requests * side_by_side / max(chunk_count, 1)))
    warnings = (
        *_warn_of_deadline(entity, duration),
        *_warn_of_timeout(entity, chunk_duration, chunk_count=chunk_count, side_by_side=side_by_side),
    )
    return RunEstimate(
        entity.name,
        "provider accounts",
        accounts,
        chunk_count,
        requests,
        duration,
        late,
        chunk_duration,
        warnings,
    )


def _warn_of_deadline(entity: Entity, duration: timedelta) -> Iterator[str]:
    if entity.deadline is not None and duration > entity.deadline:
        yield (
            f"the provider's limits make a run take at least {_minutes(duration)}, longer than the deadline of "
            f"{_minutes(entity.deadline)}: ask the provider for a higher limit, read fewer logins a run, or raise "
            "`deadline`"
        )


def _warn_of_timeout(entity: Entity, duration: timedelta, *, chunk_count: int, side_by_side: int) -> Iterator[str]:
    if duration > entity.timeout:
        remedy = (
            f"raise `max_chunks`, which is {entity.max_chunks}"
            if chunk_count == entity.max_chunks
            else f"lower `chunk_size`, which is {entity.chunk_size}"
        )
        yield (
            f"the provider's limits make a chunk take at least {_minutes(duration)} while {side_by_side} run, longer "
            f"than the timeout of a task of {_minutes(entity.timeout)}: cut the run into more than "
            f"{max(chunk_count, entity.queue.slots)} chunks ({remedy}), or raise `timeout`"
        )


def _minutes(duration: timedelta) -> str:
    return f"{duration.total_seconds() / 60:,.0f} min"


def min_duration(source: Source, requests: int) -> timedelta:
    """Return the least time for a number of requests under the limits that count all calls of the client."""
    durations = [
        max(0, requests - limit.burst) * limit.emission_interval
        for limit in source.limits
        if limit.scope is LimitScope.CLIENT
    ]
    return max(durations, default=timedelta())
