"""What may be removed: raw batches, their objects, typed batches, and rows that tell of the past.

Everything is walked by key, a page at a time; what must stay is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg.rows import scalar_row, tuple_row

from etl.declare.entity import Entity
from etl.stores import raw
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

BATCHES = 1_000
"""Raw batches that are purged in one transaction."""
ROWS = 10_000
"""Rows that are removed in one transaction."""

Key = tuple[int, ...]


class Aging(Enum):
    """Tables whose rows are removed when they are old, by their statements."""

    REJECTS = "rejects"
    REPLAYS = "replays"
    LEFT_OUT = "left_out"
    CHUNKS = "chunks"


def raw_batches(
    warehouse: Warehouse, entities: Collection[Entity], *, before: datetime
) -> Iterator[list[tuple[int, str]]]:
    """Yield the batches that may be purged, a page at a time: id and place of the object below the raw root.

    Parameters
    ----------
    entities
        All that read raw batches.
    before
        Those that were sealed earlier.
    """
    readers = [(source, entity.name) for entity in entities for source in entity.sources]
    values = {
        "before": before,
        "sources": [source for source, _ in readers],
        "entities": [entity for _, entity in readers],
        "limit": BATCHES,
    }
    after = 0
    while page := _rows(warehouse, "raw", {**values, "after": after}):
        yield page
        after = page[-1][0]


def mark(warehouse: Warehouse, raw_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Mark batches as purged, and return those that were, with their objects, which may be removed from now on."""
    return _rows(warehouse, "mark", {"raw_ids": list(raw_ids)})


def kept(warehouse: Warehouse, *, before: datetime) -> int:
    """Return how many batches are kept that were sealed before an instant."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        (batches,) = cursor.execute(statement("stores/purges", "kept"), {"before": before}).fetchall()
    return int(batches)


def unnamed(warehouse: Warehouse, paths: Collection[str], *, but_for: Collection[int] = ()) -> set[str]:
    """Return the objects that no batch needs.

    Parameters
    ----------
    paths
        Places below the raw root.
    but_for
        Batches that do not count.
    """
    hashes = [raw.content_hash_of(path) for path in paths]
    values = {"paths": list(paths), "hashes": hashes, "but_for": list(but_for)}
    return {path for (path,) in _rows(warehouse, "unnamed", values)}


def waiting(warehouse: Warehouse, typed: Sequence[tuple[str, int, str]]) -> set[int]:
    """Return which typed batches are not loaded yet, by their places in a list of entity, version and content hash."""
    values = {
        "entities": [entity for entity, _, _ in typed],
        "versions": [version for _, version, _ in typed],
        "hashes": [content_hash for _, _, content_hash in typed],
    }
    return {place - 1 for (place,) in _rows(warehouse, "waiting", values)}


def aged(warehouse: Warehouse, table: Aging, *, before: datetime) -> Iterator[list[Key]]:
    """Yield the keys of rows that may be removed, a page at a time."""
    after: Key = (0, 0, 0)
    while page := _rows(warehouse, table.value, {**_named(after), "before": before, "limit": ROWS}):
        yield page
        after = page[-1]


def remove(warehouse: Warehouse, table: Aging, keys: Sequence[Key]) -> int:
    """Remove rows, and return how many there were."""
    columns = [list(column) for column in zip(*keys, strict=True)]
    return warehouse.execute(statement("stores/purges", f"remove_{table.value}"), _named(columns)).rowcount


def _named(values: Sequence[object]) -> dict[str, object]:
    return dict(zip(("first", "second", "third"), values, strict=False))


def _rows(warehouse: Warehouse, name: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
    with warehouse.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement("stores/purges", name), values).fetchall()
