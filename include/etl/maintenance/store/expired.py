"""Expired raw batches, their objects, typed batches and history rows: finds and removes them.

Everything is read by key, a page at a time; what must be kept is skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from enum import Enum

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.declare.entity import Entity
from etl.sync.store.raw_batches import content_hash_from_path

_SQL = StatementFile("maintenance/expired")

MAX_BATCHES = 1_000
"""Raw batches that one transaction purges."""
MAX_ROWS = 10_000
"""Rows that one transaction removes."""

RowKey = tuple[int, ...]


class ExpiringTable(Enum):
    """Tables whose rows are removed when they are old, by the name of their statement."""

    REJECTS = "rejects"
    FIELD_WARNINGS = "field_warnings"
    REPLAYS = "replays"
    SKIPPED_ACCOUNTS = "left_out"
    GAPS = "gaps"
    RECONCILIATIONS = "reconciliations"
    CHUNKS = "chunks"


def find_expired_batches(
    db: Connection, entities: Collection[Entity], *, before: datetime
) -> Iterator[list[tuple[int, str]]]:
    """Yield the raw batches that may be purged, a page at a time: id, and path of the object below the raw root.

    Parameters
    ----------
    entities
        All that read raw batches.
    before
        Only batches that were sealed earlier are purged.
    """
    readers = [(source, entity.name) for entity in entities for source in entity.sources]
    values = {
        "before": before,
        "sources": [source for source, _ in readers],
        "entities": [entity for _, entity in readers],
        "limit": MAX_BATCHES,
    }
    after = 0
    query = _SQL["expired_batches"]
    while page := query.rows(db, {**values, "after": after}):
        yield page
        after = page[-1][0]


def mark_purged(db: Connection, raw_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Mark batches as purged; return the id and object path of those that were marked, whose objects may be removed."""
    return _SQL["mark_purged"].rows(db, {"raw_ids": list(raw_ids)})


def count_kept_batches(db: Connection, *, before: datetime) -> int:
    """Return how many batches that were sealed before an instant are not purged."""
    return int(_SQL["kept_batches"].scalar(db, {"before": before}))


def find_unreferenced_objects(
    db: Connection, paths: Collection[str], *, except_raw_ids: Collection[int] = ()
) -> set[str]:
    """Return the paths of the objects that no batch names.

    Parameters
    ----------
    paths
        Paths below the raw root.
    except_raw_ids
        Batches that do not count.
    """
    hashes = [content_hash_from_path(path) for path in paths]
    values = {"paths": list(paths), "hashes": hashes, "except_raw_ids": list(except_raw_ids)}
    return set(_SQL["unreferenced_objects"].scalars(db, values))


def find_unloaded_typed_batches(db: Connection, typed_batches: Sequence[tuple[str, int, str]]) -> set[int]:
    """Return which typed batches are not loaded yet, as 0-based indices into `typed_batches`.

    Parameters
    ----------
    typed_batches
        Entity, version and content hash of each.
    """
    values = {
        "entities": [entity for entity, _, _ in typed_batches],
        "versions": [version for _, version, _ in typed_batches],
        "hashes": [content_hash for _, _, content_hash in typed_batches],
    }
    return {ordinal - 1 for ordinal in _SQL["unloaded_typed_batches"].scalars(db, values)}


def find_expired_keys(db: Connection, table: ExpiringTable, *, before: datetime) -> Iterator[list[RowKey]]:
    """Yield the keys of rows that may be removed, a page at a time."""
    after: RowKey = (0, 0, 0)
    while page := _SQL[table.value].rows(db, {**_key_parameters(after), "before": before, "limit": MAX_ROWS}):
        yield page
        after = page[-1]


def delete_rows(db: Connection, table: ExpiringTable, keys: Sequence[RowKey]) -> int:
    """Remove rows by key, and return how many were removed."""
    columns = [list(column) for column in zip(*keys, strict=True)]
    return _SQL[f"remove_{table.value}"].run(db, _key_parameters(columns))


def _key_parameters(values: Sequence[object]) -> dict[str, object]:
    return dict(zip(("first", "second", "third"), values, strict=False))
