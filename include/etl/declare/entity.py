"""Entities: what is synced, from which feed, into which typed columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from etl.declare.feed import Feed, Snapshot, Window
from etl.errors import DeclarationError

if TYPE_CHECKING:
    import pandas as pd

    from etl.declare.check import Check
    from etl.declare.provider import Provider
    from etl.declare.queue import Queue

PROVIDER_ACCOUNT = "provider_account_id"
"""Column that every row has: the surrogate id of the provider account that it came from."""

Hook = Callable[["pd.DataFrame"], "pd.DataFrame"]
"""A row-local change of a frame with Arrow dtypes; it keeps the index and the columns."""


class Kind(Enum):
    """Type of a column: in JSON, in Arrow and in Postgres."""

    TEXT = "text"
    MONEY = "numeric(28,10)"
    DATE = "date"
    INSTANT = "timestamptz"
    BOOLEAN = "boolean"
    INTEGER = "bigint"


@dataclass(frozen=True)
class Column:
    """A typed column of an entity.

    Parameters
    ----------
    name
        Name of the column in the core table.
    kind
        Its type.
    path
        Dotted path of the field in the record; the column's name if not given. Each leading `../` goes up to the
        record that holds the list that holds this one.
    required
        Whether a record without it is rejected.
    """

    name: str
    kind: Kind
    path: str = ""
    required: bool = True

    @property
    def fields(self) -> tuple[str, ...]:
        """The path within its record, split."""
        return tuple((self.path or self.name).replace("../", "").split("."))

    @property
    def level(self) -> int:
        """How many lists up its record is."""
        return self.path.count("../")


@dataclass(frozen=True)
class RawOf:
    """Records read from the raw batches of another entity, without asking the provider again.

    Parameters
    ----------
    entity
        Name of that entity.
    places
        Source of a raw batch → paths of the records in its pages, such as `added[].counterparties[]`.
    having
        Field that a record must have to be one; the others are passed over.
    """

    entity: str
    places: Mapping[str, tuple[str, ...]]
    having: str


@dataclass(frozen=True)
class After:
    """Runs whenever another entity was loaded.

    Parameters
    ----------
    entity
        Name of that entity.
    """

    entity: str


@dataclass(frozen=True)
class Entity:
    """Something that is synced: one declaration and one SQL file of the same name.

    Parameters
    ----------
    name
        Plural noun; names the Dag (`etl_<name>`), the SQL file and the core table.
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
        Most chunks in a run; above it chunks grow wider, not more.
    tolerated_rejects
        Share of rejected records (0 to 1) above which a batch is not loaded.
    always_tolerated
        Rejects that never stop a batch, however few its records are: a quiet day must not be stopped by one of them.
    timeout
        Longest time for one task.
    deadline
        Time after the end of its data interval, or after the load that it follows, by which a scheduled run promises
        to be done; None if it promises nothing.
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
    deadline: timedelta | None = None
    version: int = 1

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        for name in names:
            if names.count(name) > 1:
                raise DeclarationError(f"entity {self.name}: column {name} is declared twice; remove one")
        for name in self.key:
            if name not in (PROVIDER_ACCOUNT, *names):
                raise DeclarationError(f"entity {self.name}: key column {name} is not among its columns; declare it")
        for column in self.columns:
            if column.name in self.key and not column.required:
                raise DeclarationError(f"entity {self.name}: key column {column.name} must be required")
        for check in self.checks:
            for name in check.columns:
                if name not in names:
                    raise DeclarationError(f"entity {self.name}: check {check.rule} names no column: {name}")
        if not 0 <= self.tolerated_rejects <= 1:
            raise DeclarationError(
                f"entity {self.name}: tolerated_rejects is {self.tolerated_rejects}; it is a share between 0 and 1"
            )
        if self.deadline is not None and self.deadline <= timedelta():
            raise DeclarationError(f"entity {self.name}: deadline is {self.deadline}; it must be above zero")

        self._check_money(names)

    def _check_money(self, names: list[str]) -> None:
        for column in self.columns:
            if column.kind is Kind.MONEY and not self.currencies:
                raise DeclarationError(
                    f"entity {self.name}: column {column.name} is money of no currency; "
                    "let `currencies` name the columns that tell it"
                )
        for name in self.currencies:
            if name not in names:
                raise DeclarationError(f"entity {self.name}: currencies names no column: {name}; declare it")

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
        """The name under which its accounts have their cursors; None if it is read from raw batches."""
        return None if isinstance(self.source, RawOf) else self.source.name

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The declared columns that a record to remove must hold."""
        return tuple(column for column in self.columns if column.name in self.key)
