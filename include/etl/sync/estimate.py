"""Forecast: what a run would do, before it does it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from etl.chunking import count_chunks
from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.declare.provider import LimitScope
from etl.declare.source import Source
from etl.sync.store import chunks as plans
from etl.sync.store import status


@dataclass(frozen=True)
class RunEstimate:
    """What a run would do.

    Parameters
    ----------
    entity
        Its entity.
    unit
        What is cut into chunks: provider accounts or raw batches.
    unit_count
        How many of them there are.
    chunks
        Chunks of the run.
    requests
        Requests to the provider that it would take, judged by the latest downloads.
    min_duration
        The time that the provider's limits make these requests take, however many workers there are.
    """

    entity: str
    unit: str
    unit_count: int
    chunks: int
    requests: int
    min_duration: timedelta


def estimate_run(entity: Entity, *, db: Connection) -> RunEstimate:
    """Return what a run of an entity would do now; nothing is written."""
    if isinstance(entity.source, RawOf):
        batches = plans.count_pending_batches(db, entity=entity.name, sources=entity.sources, version=entity.version)
        chunks = count_chunks(batches, size=entity.chunk_size, maximum=entity.max_chunks)
        return RunEstimate(entity.name, "raw batches", batches, chunks, 0, timedelta())
    accounts = status.count_active_accounts(db, provider=entity.provider.name)
    pages = status.pages_per_account(db, source=entity.source.name) or 1.0
    requests = math.ceil(accounts * pages)
    return RunEstimate(
        entity.name,
        "provider accounts",
        accounts,
        count_chunks(accounts, size=entity.chunk_size, maximum=entity.max_chunks),
        requests,
        min_duration(entity.source, requests),
    )


def min_duration(source: Source, requests: int) -> timedelta:
    """Return the time that the limits over the whole client make some requests take."""
    waits = [
        max(0, requests - limit.burst) * limit.emission_interval
        for limit in source.limits
        if limit.scope is LimitScope.CLIENT
    ]
    return max(waits, default=timedelta())
