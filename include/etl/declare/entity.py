"""Entities: what is synced, from which feed, into which typed columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from etl.declare import entity_rules
from etl.declare.column import PROVIDER_ACCOUNT, Column, Kind
from etl.declare.feed import Feed, Snapshot, Window
from etl.declare.raw_of import RawOf
from etl.declare.schedule import After

if TYPE_CHECKING:
    import pandas as pd

    from etl.declare.check import Check
    from etl.declare.provider import Provider
    from etl.declare.queue import Queue

__all__ = ["PROVIDER_ACCOUNT", "After", "Column", "Entity", "Kind", "RawOf"]
"""A declaration finds its words in one place."""

Hook = Callable[["pd.DataFrame"], "pd.DataFrame"]
"""A row-local change of a frame with Arrow dtypes; it keeps the index and the columns."""


@dataclass(frozen=True)
class Entity:
    """Something that is synced: one declaration and one SQL file of the same name.

    Parameters
    ----------
    name
        Plural noun, as its file is called; names the Dag (`etl_<name>`), the SQL file and the core table.
    summary
        What a row is, for the people who look at the Dag.
    provider, source
        Where its records come from.
    key
        Columns that identify a row. A record to remove must hold them all (`provider_account_id` comes by itself).
    columns
        The typed columns.
    currencies
        Columns that tell the currency of the money in a row; the first that is not null does.
    checks
        Rules that a row must pass.
    hook
        Optional change of each frame, after typing and before the checks.
    queue
        Where its tasks run.
    schedule
        Cron expression, in UTC, or the entity after whose loads it runs.
    window
        How the records of past days are read, for backfills; None if they cannot be.
    chunk_size
        Provider accounts in a chunk.
    max_chunks
        Most chunks in a run, 64 or fewer; above it chunks grow wider, not more.
    tolerated_rejects
        Share of rejected records (0 to 1) above which a batch is not loaded.
    always_tolerated
        Rejects that never stop a batch, however few its records are: a quiet day must not be stopped by one of them.
    timeout
        Longest time for one task.
    version
        Raised when the columns, the hook or the checks change; a raw batch is loaded once a version.
    """

    name: str
    summary: str
    provider: Provider
    source: Feed | Snapshot | RawOf
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    queue: Queue
    schedule: str | After
    window: Window | None = None
    currencies: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    hook: Hook | None = None
    chunk_size: int = 1_000
    max_chunks: int = 64
    tolerated_rejects: float = 0.05
    always_tolerated: int = 20
    timeout: timedelta = timedelta(hours=1)
    version: int = 1

    def __post_init__(self) -> None:
        entity_rules.check(self)

    @property
    def sources(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The sources whose raw batches it reads: name → paths of its upserts, paths of its removals."""
        if isinstance(self.source, RawOf):
            return {name: (places, ()) for name, places in self.source.places.items()}
        declared = (self.source, self.window) if self.window else (self.source,)
        return {source.name: (source.upserts, source.removals) for source in declared}

    def origin(self, source: str) -> Feed | Snapshot | Window | RawOf:
        """Return what declares a source of the raw batches that it reads."""
        return self.window if self.window and self.window.name == source else self.source

    @property
    def feed(self) -> str | None:
        """The name under which its accounts have their cursors; None if it is not read from a feed."""
        return self.source.name if isinstance(self.source, Feed) else None

    @property
    def statements(self) -> tuple[str, ...]:
        """Names of the statements that its SQL file must have."""
        removes = any(removals for _, removals in self.sources.values())
        return ("table", "merge", "remove") if removes else ("table", "merge")

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The declared columns that a record to remove must hold."""
        return tuple(column for column in self.columns if column.name in self.key)
