"""Forecast: what a run would do, before it does it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from etl.chunking import count_chunks
from etl.db.connection import Warehouse
from etl.declare.entity import Entity, RawOf
from etl.declare.provider import Scope
from etl.declare.source import Source
from etl.sync.store import chunks as plans
from etl.sync.store import status


@dataclass(frozen=True)
class Forecast:
    """What a run would do.

    Parameters
    ----------
    entity
        Its entity.
    of
        What is cut into chunks: provider accounts or raw batches.
    ids
        How many of them there are.
    chunks
        Chunks of the run.
    requests
        Requests to the provider that it would take, judged by the latest downloads.
    least_time
        The time that the provider's limits make these requests take, however many workers there are.
    """

    entity: str
    of: str
    ids: int
    chunks: int
    requests: int
    least_time: timedelta


def forecast(entity: Entity, *, warehouse: Warehouse) -> Forecast:
    """Return what a run of an entity would do now; nothing is written."""
    if isinstance(entity.source, RawOf):
        batches = plans.count_raw(warehouse, entity=entity.name, sources=entity.sources, version=entity.version)
        chunks = count_chunks(batches, size=entity.chunk_size, maximum=entity.max_chunks)
        return Forecast(entity.name, "raw batches", batches, chunks, 0, timedelta())
    accounts = status.active_accounts(warehouse, provider=entity.provider.name)
    pages = status.pages_per_account(warehouse, source=entity.source.name) or 1.0
    requests = math.ceil(accounts * pages)
    return Forecast(
        entity.name,
        "provider accounts",
        accounts,
        count_chunks(accounts, size=entity.chunk_size, maximum=entity.max_chunks),
        requests,
        least_time(entity.source, requests),
    )


def least_time(source: Source, requests: int) -> timedelta:
    """Return the time that the limits over the whole client make some requests take."""
    waits = [max(0, requests - limit.burst) * limit.interval for limit in source.limits if limit.scope is Scope.CLIENT]
    return max(waits, default=timedelta())
