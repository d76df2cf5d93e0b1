"""Entities: what is synced, from which feed, into which typed columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING

from etl.declare.check import Check
from etl.declare.column import PROVIDER_ACCOUNT, Column, ColumnType
from etl.declare.provider import Provider
from etl.declare.queue import Queue
from etl.declare.schedule import After, require_cron
from etl.declare.source import Feed, RawOf, Snapshot, Window
from etl.declare.validation import require_count, require_duration, require_identifier, require_tuple, require_type
from etl.errors import DeclarationError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROVIDER_ACCOUNT", "After", "Column", "ColumnType", "Entity", "RawOf"]
"""A declaration finds its words in one place."""

Hook = Callable[["pd.DataFrame"], "pd.DataFrame"]
"""A row-local change of a frame with Arrow dtypes; it keeps the index and the columns."""

MAX_CHUNKS = 64
"""Above this, the scheduler spends seconds on each pass over a run."""

_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "summary": (str,),
    "provider": (Provider,),
    "source": (Feed, Snapshot, RawOf),
    "window": (Window, type(None)),
    "queue": (Queue,),
    "schedule": (str, After),
    "tolerated_rejects": (int, float),
}
_TUPLE_FIELDS: dict[str, tuple[type, int]] = {
    "key": (str, 1),
    "columns": (Column, 1),
    "currencies": (str, 0),
    "checks": (Check, 0),
}
_MIN_COUNTS = {"chunk_size": 1, "max_chunks": 1, "always_tolerated": 0, "version": 1}


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
        _validate(self)

    @property
    def sources(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The sources whose raw batches it reads: name → paths of its upserts, paths of its removals."""
        if isinstance(self.source, RawOf):
            return {name: (places, ()) for name, places in self.source.places.items()}
        declared = (self.source, self.window) if self.window else (self.source,)
        return {source.name: (source.upserts, source.removals) for source in declared}

    def find_source(self, source: str) -> Feed | Snapshot | Window | RawOf:
        """Return what declares a source of the raw batches that it reads."""
        return self.window if self.window and self.window.name == source else self.source

    @property
    def feed_name(self) -> str | None:
        """The name under which its accounts have their cursors; None if it is not read from a feed."""
        return self.source.name if isinstance(self.source, Feed) else None

    @property
    def required_statements(self) -> tuple[str, ...]:
        """Names of the statements that its SQL file must have."""
        removes = any(removals for _, removals in self.sources.values())
        return ("table", "merge", "remove") if removes else ("table", "merge")

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The declared columns that a record to remove must hold."""
        return tuple(column for column in self.columns if column.name in self.key)


def _validate(entity: Entity) -> None:
    """Refuse an entity that holds wrong values or contradicts itself.

    Raises
    ------
    DeclarationError
        With the entity, the field, what was found and the remedy.
    """
    where = f"entity {entity.name}"
    _check_values(where, entity)
    _check_columns(where, entity)
    _check_currencies(where, entity)
    _check_checks(where, entity)
    _check_record_paths(where, entity)


def _check_values(where: str, entity: Entity) -> None:
    require_identifier(where, "name", entity.name)
    for field, kinds in _FIELD_TYPES.items():
        require_type(where, field, getattr(entity, field), *kinds)
    for field, (kind, least) in _TUPLE_FIELDS.items():
        require_tuple(where, field, getattr(entity, field), kind, minimum=least)
    for field, least in _MIN_COUNTS.items():
        most = MAX_CHUNKS if field == "max_chunks" else None
        require_count(where, field, getattr(entity, field), minimum=least, maximum=most)
    require_duration(where, "timeout", entity.timeout)
    if entity.deadline is not None:
        require_duration(where, "deadline", entity.deadline)
    if isinstance(entity.schedule, str):
        require_cron(where, "schedule", entity.schedule)
    if not 0 <= entity.tolerated_rejects <= 1:
        raise DeclarationError(
            f"{where}: tolerated_rejects is {entity.tolerated_rejects}; it must be a share between 0 and 1"
        )
    if entity.hook is not None and not callable(entity.hook):
        raise DeclarationError(
            f"{where}: hook is {entity.hook!r}; write a function from etl/catalog/hooks, without a call"
        )
    if entity.window is not None and isinstance(entity.source, RawOf):
        raise DeclarationError(
            f"{where}: window is {entity.window.name}, but its source is the raw batches of {entity.source.entity}; "
            f"take it out, and backfill {entity.source.entity}"
        )


def _check_columns(where: str, entity: Entity) -> None:
    names = [column.name for column in entity.columns]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{where}: column {name} is declared twice; remove one")
    for name in entity.key:
        if name not in (PROVIDER_ACCOUNT, *names):
            raise DeclarationError(
                f"{where}: key column {name} is not among its columns; declare it, or name one of {', '.join(names)}"
            )
    for column in entity.columns:
        if column.name in entity.key and not column.required:
            raise DeclarationError(f"{where}: key column {column.name} must be required; take required=False out")
    for column, other in combinations(entity.columns, 2):
        if column.levels_up == other.levels_up and _have_conflicting_types(column, other):
            raise DeclarationError(
                f"{where}: columns {column.name} and {other.name} read {'.'.join(column.path_parts)!r} and "
                f"{'.'.join(other.path_parts)!r} as different types; mend their path or kind"
            )


def _check_currencies(where: str, entity: Entity) -> None:
    kinds = {column.name: column.kind for column in entity.columns}
    for name, kind in kinds.items():
        if kind is ColumnType.MONEY and not entity.currencies:
            raise DeclarationError(
                f"{where}: column {name} is money of no currency; let `currencies` name the columns that tell it"
            )
    for name in entity.currencies:
        if kinds.get(name) is not ColumnType.TEXT:
            raise DeclarationError(
                f"{where}: currencies names no column of ColumnType.TEXT: {name}; declare it, or mend it"
            )


def _have_conflicting_types(column: Column, other: Column) -> bool:
    """Return whether one field would have to be both a value and an object, or values of two kinds."""
    shorter, longer = sorted((column.path_parts, other.path_parts), key=len)
    return longer[: len(shorter)] == shorter and (len(longer) > len(shorter) or column.kind is not other.kind)


def _check_checks(where: str, entity: Entity) -> None:
    kinds = {column.name: column.kind for column in entity.columns}
    for rule in entity.checks:
        for name, kind in zip(rule.columns, rule.column_types, strict=True):
            if name not in kinds:
                raise DeclarationError(
                    f"{where}: check {rule.rule} names no column: {name}; name one of {', '.join(kinds)}"
                )
            if kind not in (None, kinds[name]):
                raise DeclarationError(
                    f"{where}: check {rule.rule} wants a column of ColumnType.{kind.name}, and {name} is of "
                    f"ColumnType.{kinds[name].name}; take it out, or mend the column's kind"
                )


def _check_record_paths(where: str, entity: Entity) -> None:
    for source, (upserts, removals) in entity.sources.items():
        for columns, places in ((entity.columns, upserts), (entity.key_columns, removals)):
            for place, column in ((place, column) for place in places for column in columns):
                above = place.count("[]") - 1
                if column.levels_up > above:
                    raise DeclarationError(
                        f"{where}: column {column.name} has the path {column.path!r}, {column.levels_up} up, but above "
                        "the "
                        f"records at {place!r} of {source} there are {above}; take '../' out"
                    )
    if isinstance(entity.source, RawOf):
        fields = {column.path_parts[0]: None for column in entity.columns if column.levels_up == 0}
        if entity.source.having not in fields:
            raise DeclarationError(
                f"{where}: having is {entity.source.having!r}, a field that none of its columns reads; "
                f"declare a column of it, or name one of {', '.join(fields)}"
            )
