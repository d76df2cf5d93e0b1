"""Entities: what is synced, from which source, into which typed columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING

from etl.declare.api.derived import Settlement, check_fills, check_identities, check_recent, check_uses
from etl.declare.check import Check
from etl.declare.column import PROVIDER_ACCOUNT, Column, ColumnType
from etl.declare.provider import Provider
from etl.declare.queue import Queue, require_timeout
from etl.declare.rules.hooks import takes_a_frame
from etl.declare.rules.names import require_table_name
from etl.declare.schedule import After, require_cron
from etl.declare.source import Feed, RawOf, Recent, Snapshot, Window
from etl.declare.validation import require_count, require_distinct, require_duration, require_tuple, require_type
from etl.errors import DeclarationError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROVIDER_ACCOUNT", "After", "Column", "ColumnType", "Entity", "RawOf"]
"""Re-exported, so that a declaration imports from one module."""

Hook = Callable[["pd.DataFrame"], "pd.DataFrame"]
"""Changes the values of a frame with Arrow dtypes, row by row; keeps its index and columns."""

MAX_HISTORY_NAME = 48
"""Letters of a name to which Postgres can append `_history`, the number of a partition, or what a trigger does."""

MAX_CHUNKS = 64
"""Above this, each scheduler loop spends seconds on a run."""

_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "summary": (str,),
    "provider": (Provider,),
    "source": (Feed, Snapshot, RawOf),
    "window": (Window, type(None)),
    "queue": (Queue,),
    "schedule": (str, After),
    "tolerated_rejects": (int, float),
    "history": (bool,),
    "tolerated_absences": (int, float),
    "replaces": (str, type(None)),
    "settlement": (Settlement, type(None)),
}
_TUPLE_FIELDS: dict[str, tuple[type, int]] = {
    "key": (str, 1),
    "columns": (Column, 1),
    "currencies": (str, 0),
    "checks": (Check, 0),
}
_ORDERED_TYPES = (ColumnType.DATE, ColumnType.INSTANT)
_MIN_COUNTS = {"chunk_size": 1, "max_chunks": 1, "always_tolerated": 0, "version": 1}


@dataclass(frozen=True)
class Entity:
    """Something that is synced; an SQL file of the same name may have statements that only it needs.

    Parameters
    ----------
    name
        Plural noun, the same as the name of its file; it names the Dag (`etl_<name>`) and the core table.
    summary
        What a row is; shown with the Dag in Airflow's web UI.
    provider, source
        Provider and source of its records.
    key
        Columns that identify a row. A record to remove must have all of them, except the implicit
        `provider_account_id`.
    columns
        The typed columns.
    currencies
        Columns that hold the currency of the money in a row; the first that is not null applies.
    replaces
        Column with the key of an earlier record that a record replaces, such as the pending transaction of a posted
        one; None if there is none. It is kept with rejects, so that the earlier row stays until the record is loaded.
    checks
        Rules that a row must pass.
    hook
        Optional function that changes each frame after typing and before the checks.
    queue
        Queue of its tasks.
    schedule
        Cron expression, in UTC, or `After` the entity whose loads start a run.
    window
        Source of the records of past days, for backfills; None if there is none.
    chunk_size
        Provider accounts in a chunk.
    max_chunks
        Maximum number of chunks in a run, at most 64; if more were needed, chunks are larger instead.
    tolerated_rejects
        Share of a login's records in a batch (0 to 1) that may be rejected; above it the login is quarantined.
    always_tolerated
        Number of rejects that never quarantines a login: a single reject must not stop a quiet day.
    tolerated_absences
        Share of a login's live rows (0 to 1) that may end without approval because a feed that was read again from its
        beginning does not contain them any more; a handful may always.
    timeout
        Maximum duration of one task.
    deadline
        Time by which a scheduled run must be done, after the end of its data interval or after the load that started
        it; None if it has no deadline.
    version
        Increase it when the columns, the hook or the checks change; a raw batch is loaded once per version. `sluice
        migrate` says so if it was forgotten.
    history
        Whether the superseded versions of its rows are kept, in `core.<name>_history`.
    newest_by
        Column of a date or an instant by which the newest record of a key is chosen, where records do not arrive in
        their order; null is the oldest, and what is later than its observation counts as that. None if the record
        that was observed last is the newest.
    settlement
        How to find the posted record that a pending one became, where no id links them; only with a `Recent` source.
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
    replaces: str | None = None
    checks: tuple[Check, ...] = ()
    hook: Hook | None = None
    chunk_size: int = 1_000
    max_chunks: int = 64
    tolerated_rejects: float = 0.05
    always_tolerated: int = 20
    tolerated_absences: float = 0.1
    timeout: timedelta = timedelta(hours=1)
    deadline: timedelta | None = None
    version: int = 1
    history: bool = False
    newest_by: str | None = None
    settlement: Settlement | None = None

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def sources(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Sources whose raw batches it reads: name → paths of the upserts, paths of the removals."""
        if isinstance(self.source, RawOf):
            return {name: (paths, ()) for name, paths in self.source.places.items()}
        declared = (self.source, self.window) if self.window else (self.source,)
        return {source.name: (source.upserts, source.removals) for source in declared}

    @property
    def optional_lists(self) -> frozenset[str]:
        """Paths of lists that a page of its sources may lack."""
        if isinstance(self.source, RawOf):
            return frozenset()
        return frozenset(self.source.optional).union(self.window.optional if self.window else ())

    def find_source(self, source: str) -> Feed | Snapshot | Window | RawOf:
        """Return the declaration of one of the sources whose raw batches it reads."""
        return self.window if self.window and self.window.name == source else self.source

    @property
    def feed_name(self) -> str | None:
        """Name of its feed, by which its cursors are stored; None if it is not read from a feed."""
        return self.source.name if isinstance(self.source, Feed) else None

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """Declared columns of the core table."""
        return tuple(column for column in self.columns if column.stored)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """Declared columns of the key, which a record to remove must have."""
        return tuple(column for column in self.columns if column.name in self.key)

    def may_drop(self, column: Column) -> bool:
        """Return whether a bad value costs only this field of its row.

        A required column rejects the record, and so does the currency of money, even if another column may hold it.
        """
        return not column.required and column.name not in self.currencies


def _validate(entity: Entity) -> None:
    """Refuse an entity that has invalid values or contradicts itself.

    Raises
    ------
    DeclarationError
        With the entity, the field, its value and the remedy.
    """
    where = f"entity {entity.name}"
    _check_values(where, entity)
    _check_columns(where, entity)
    _check_column_references(where, entity)
    _check_checks(where, entity)
    _check_order(where, entity)
    _check_record_paths(where, entity)
    _check_history(where, entity)
    if isinstance(entity.source, Recent):
        if PROVIDER_ACCOUNT not in entity.key:
            raise DeclarationError(
                f"{where}: its key has no {PROVIDER_ACCOUNT}, but {entity.source.name} has the recent days of a login, "
                "whose rows end if they are absent from it; add it to the key"
            )
        check_recent(where, entity.source, entity.columns, entity.settlement, entity.provider.parts)
    elif entity.settlement is not None:
        raise DeclarationError(f"{where}: settlement is given, but its source is no Recent; remove it")


def _check_values(where: str, entity: Entity) -> None:
    require_table_name(where, entity.name)
    for field, types in _FIELD_TYPES.items():
        require_type(where, field, getattr(entity, field), *types)
    for field, (item_type, minimum) in _TUPLE_FIELDS.items():
        require_tuple(where, field, getattr(entity, field), item_type, minimum=minimum)
    for field, minimum in _MIN_COUNTS.items():
        maximum = MAX_CHUNKS if field == "max_chunks" else None
        require_count(where, field, getattr(entity, field), minimum=minimum, maximum=maximum)
    require_timeout(where, entity.timeout)
    if entity.deadline is not None:
        require_duration(where, "deadline", entity.deadline)
    if isinstance(entity.schedule, str):
        require_cron(where, "schedule", entity.schedule)
    for field in ("tolerated_rejects", "tolerated_absences"):
        if not 0 <= (share := getattr(entity, field)) <= 1:
            raise DeclarationError(f"{where}: {field} is {share}; it must be a share between 0 and 1")
    if entity.hook is not None and not takes_a_frame(entity.hook):
        raise DeclarationError(
            f"{where}: hook is {entity.hook!r}; write a function of one frame from `hooks` of the catalogue, uncalled"
        )
    if entity.window is None:
        return
    if isinstance(entity.source, RawOf):
        raise DeclarationError(
            f"{where}: window is {entity.window.name}, but its source is the raw batches of {entity.source.entity}; "
            f"remove it, and backfill {entity.source.entity}"
        )
    if entity.window.name == entity.source.name:
        raise DeclarationError(
            f"{where}: window and source are both named {entity.window.name}, and raw batches are told apart by that "
            "name; rename one"
        )


def _check_columns(where: str, entity: Entity) -> None:
    names = [column.name for column in entity.columns]
    require_distinct(where, "key", entity.key)
    require_distinct(where, "currencies", entity.currencies)
    if not entity.key_columns and set(entity.key) <= {PROVIDER_ACCOUNT}:
        raise DeclarationError(
            f"{where}: key has only {PROVIDER_ACCOUNT}, so that a record has no id of its own; add a column, perhaps "
            "one with a fill"
        )
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{where}: column {name} is declared twice; remove one")
    for name in entity.key:
        if name not in (PROVIDER_ACCOUNT, *names):
            raise DeclarationError(
                f"{where}: key column {name} is not among its columns; declare it, or name one of {', '.join(names)}"
            )
    if entity.replaces is not None and len(entity.key_columns) != 1:
        raise DeclarationError(
            f"{where}: replaces is {entity.replaces}, but one column cannot name a row with the key "
            f"{', '.join(entity.key)}; remove it"
        )
    for column in entity.columns:
        if column.name in entity.key and not column.required:
            raise DeclarationError(f"{where}: key column {column.name} must be required; remove required=False")
        if column.name in entity.key and not column.stored:
            raise DeclarationError(f"{where}: key column {column.name} must be stored; remove stored=False")
    check_uses(where, entity.columns, entity.currencies)
    requested = () if isinstance(entity.source, RawOf) else tuple(filter(None, (entity.source, entity.window)))
    lists = [path for places in entity.sources.values() for paths in places for path in paths]
    check_fills(where, entity.columns, requested, lists)
    check_identities(where, entity.columns, requested)
    for column, other in combinations(entity.columns, 2):
        if column.levels_up == other.levels_up and _have_conflicting_types(column, other):
            raise DeclarationError(
                f"{where}: columns {column.name} and {other.name} read {'.'.join(column.path_parts)!r} and "
                f"{'.'.join(other.path_parts)!r} as different types; fix their path or kind"
            )


def _check_column_references(where: str, entity: Entity) -> None:
    types = {column.name: column.kind for column in entity.columns}
    for name, column_type in types.items():
        if column_type is ColumnType.MONEY and not entity.currencies:
            raise DeclarationError(
                f"{where}: column {name} is money without a currency; name the columns that hold it in `currencies`"
            )
    if entity.replaces is not None and entity.key_columns[0].kind is not ColumnType.TEXT:
        raise DeclarationError(
            f"{where}: replaces is {entity.replaces!r}, but the key {entity.key_columns[0].name}, which it names, is "
            "no ColumnType.TEXT; fix the kind of the key, or remove it"
        )
    if entity.replaces is not None and entity.replaces in entity.key:
        raise DeclarationError(
            f"{where}: replaces is {entity.replaces!r}, its own key; name the column with the key of an earlier record"
        )
    if entity.replaces is not None and types.get(entity.replaces) is not ColumnType.TEXT:
        raise DeclarationError(
            f"{where}: replaces is {entity.replaces!r}, which is no column of ColumnType.TEXT; declare it, or fix the "
            "name"
        )
    for name in entity.currencies:
        if types.get(name) is not ColumnType.TEXT:
            raise DeclarationError(
                f"{where}: currencies has {name}, which is no column of ColumnType.TEXT; declare it, or fix the name"
            )
    stored = {column.name for column in entity.stored_columns}
    for name in sorted({*entity.currencies, *filter(None, [entity.replaces])} - stored):
        raise DeclarationError(
            f"{where}: column {name} tells the currency of rows, or which they replace, so that it must be stored; "
            "remove stored=False"
        )


def _check_history(where: str, entity: Entity) -> None:
    is_long = isinstance(entity.source, Feed | Recent)
    if (entity.history or is_long) and len(entity.name) > MAX_HISTORY_NAME:
        raise DeclarationError(
            f"{where}: its name has {len(entity.name)} letters; with history or a feed it may have {MAX_HISTORY_NAME}"
        )
    if entity.history and all(column.name in entity.key for column in entity.stored_columns):
        raise DeclarationError(f"{where}: all of its columns are in its key, which never changes; remove history")


def _have_conflicting_types(column: Column, other: Column) -> bool:
    """Return whether one field would have to be both a value and an object, or a value of two types."""
    shorter, longer = sorted((column.path_parts, other.path_parts), key=len)
    if column.fill is not None or other.fill is not None:
        return False
    return longer[: len(shorter)] == shorter and (len(longer) > len(shorter) or column.sent_as is not other.sent_as)


def _check_checks(where: str, entity: Entity) -> None:
    types = {column.name: column.kind for column in entity.columns}
    for check in entity.checks:
        for name, required_type in zip(check.columns, check.column_types, strict=True):
            require_type(where, f"a column of check {check.rule}", name, str)
            if name not in types:
                raise DeclarationError(
                    f"{where}: check {check.rule} names no column: {name}; name one of {', '.join(types)}"
                )
            if required_type not in (None, types[name]):
                raise DeclarationError(
                    f"{where}: check {check.rule} needs a column of ColumnType.{required_type.name}, but {name} is of "
                    f"ColumnType.{types[name].name}; remove the check, or fix the kind of the column"
                )


def _check_order(where: str, entity: Entity) -> None:
    if entity.newest_by is None:
        return
    require_type(where, "newest_by", entity.newest_by, str)
    types = {column.name: column.kind for column in entity.stored_columns if column.name not in entity.key}
    if types.get(entity.newest_by) not in _ORDERED_TYPES:
        ordered = ", ".join(name for name, kind in types.items() if kind in _ORDERED_TYPES)
        remedy = f"name one of {ordered}" if ordered else "declare one"
        raise DeclarationError(
            f"{where}: newest_by is {entity.newest_by!r}, which is no date or instant outside its key; "
            f"{remedy}, or remove it"
        )
    if isinstance(entity.source, Feed):
        raise DeclarationError(
            f"{where}: newest_by is {entity.newest_by!r}, but the changes of a feed apply in the order of the feed; "
            "remove it"
        )


def _check_record_paths(where: str, entity: Entity) -> None:
    for source, (upserts, removals) in entity.sources.items():
        for columns, paths in ((entity.columns, upserts), (entity.key_columns, removals)):
            for path, column in ((path, column) for path in paths for column in columns):
                lists_above = max(path.count("[]") - 1, 0)
                if column.levels_up > lists_above:
                    raise DeclarationError(
                        f"{where}: column {column.name} has the path {column.path!r}, {column.levels_up} up, but there "
                        f"are {lists_above} lists above the records at {path!r} of {source}; remove '../'"
                    )
    if isinstance(entity.source, RawOf):
        fields = {column.path_parts[0]: None for column in entity.columns if column.levels_up == 0}
        if entity.source.having not in fields:
            raise DeclarationError(
                f"{where}: having is {entity.source.having!r}, a field that none of its columns reads; "
                f"declare a column for it, or name one of {', '.join(fields)}"
            )
