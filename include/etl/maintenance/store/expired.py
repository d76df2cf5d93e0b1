"""What may be removed: raw batches, their objects, typed batches, and rows that tell of the past.

Everything is walked by key, a page at a time; what must stay is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg.rows import scalar_row, tuple_row

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.entity import Entity
from etl.sync.store.raw_batches import content_hash_of

MAX_BATCHES = 1_000
"""Raw batches that are purged in one transaction."""
MAX_ROWS = 10_000
"""Rows that are removed in one transaction."""

MAX_RUNS = 100
"""Whose chunks are removed in one transaction; each has 256 at most."""
MAX_DELIVERIES = 10_000
"""That are looked at, and removed, in one transaction."""

RowKey = tuple[int, ...]


class ExpiringTable(Enum):
    """Tables whose rows are removed when they are old, by their statements."""

    REJECTS = "rejects"
    REPLAYS = "replays"
    SKIPPED_ACCOUNTS = "left_out"
    CHUNKS = "chunks"


def find_expired_batches(
    db: Connection, entities: Collection[Entity], *, before: datetime
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
        "limit": MAX_BATCHES,
    }
    after = 0
    while page := _fetch_rows(db, "expired_batches", {**values, "after": after}):
        yield page
        after = page[-1][0]


def mark_purged(db: Connection, raw_ids: Sequence[int]) -> list[tuple[int, str]]:
    """Mark batches as purged, and return those that were, with their objects, which may be removed from now on."""
    return _fetch_rows(db, "mark_purged", {"raw_ids": list(raw_ids)})


def count_kept_batches(db: Connection, *, before: datetime) -> int:
    """Return how many batches are kept that were sealed before an instant."""
    with db.cursor(row_factory=scalar_row) as cursor:
        (batches,) = cursor.execute(statement("maintenance/expired", "kept_batches"), {"before": before}).fetchall()
    return int(batches)


def find_unreferenced_objects(
    db: Connection, paths: Collection[str], *, except_raw_ids: Collection[int] = ()
) -> set[str]:
    """Return the objects that no batch needs.

    Parameters
    ----------
    paths
        Places below the raw root.
    except_raw_ids
        Batches that do not count.
    """
    hashes = [content_hash_of(path) for path in paths]
    values = {"paths": list(paths), "hashes": hashes, "except_raw_ids": list(except_raw_ids)}
    return {path for (path,) in _fetch_rows(db, "unreferenced_objects", values)}


def find_unloaded_typed_batches(db: Connection, typed_batches: Sequence[tuple[str, int, str]]) -> set[int]:
    """Return which typed batches are not loaded yet, by their places in a list of entity, version and content hash."""
    values = {
        "entities": [entity for entity, _, _ in typed_batches],
        "versions": [version for _, version, _ in typed_batches],
        "hashes": [content_hash for _, _, content_hash in typed_batches],
    }
    return {place - 1 for (place,) in _fetch_rows(db, "unloaded_typed_batches", values)}


def find_expired_keys(db: Connection, table: ExpiringTable, *, before: datetime) -> Iterator[list[RowKey]]:
    """Yield the keys of rows that may be removed, a page at a time."""
    after: RowKey = (0, 0, 0)
    while page := _fetch_rows(db, table.value, {**_key_parameters(after), "before": before, "limit": MAX_ROWS}):
        yield page
        after = page[-1]


def delete_rows(db: Connection, table: ExpiringTable, keys: Sequence[RowKey]) -> int:
    """Remove rows, and return how many there were."""
    columns = [list(column) for column in zip(*keys, strict=True)]
    return db.execute(statement("maintenance/expired", f"remove_{table.value}"), _key_parameters(columns)).rowcount


def purge_chunks(db: Connection, *, before: datetime, dry_run: bool) -> Iterator[int]:
    """Remove the chunks of runs that ended before an instant, and yield how many, a page of runs at a time."""
    after = 0
    while True:
        values = {"after": after, "before": before, "limit": MAX_RUNS, "dry_run": dry_run}
        with db.cursor(row_factory=tuple_row) as cursor:
            ((last, chunks),) = cursor.execute(statement("maintenance/expired", "purge_run_chunks"), values).fetchall()
        if last is None:
            return
        yield chunks
        after = last


def purge_deliveries(db: Connection, *, before: datetime, dry_run: bool) -> Iterator[int]:
    """Remove deliveries of runs that ended before an instant and have no chunks, and yield how many, a page at a time.

    Pages go on until the first of which everything was claimed later. It is where the past ends, save what was claimed
    again after long, which only waits for another day.

    Parameters
    ----------
    dry_run
        Whether to count only; runs may then still have their chunks.
    """
    after = 0
    while True:
        with db.cursor(row_factory=tuple_row) as cursor:
            ((last, earliest),) = cursor.execute(
                statement("maintenance/expired", "next_delivery_page"), {"after": after, "limit": MAX_DELIVERIES}
            ).fetchall()
        if last is None or earliest >= before:
            return
        values = {"after": after, "last": last, "before": before}
        if dry_run:
            with db.cursor(row_factory=scalar_row) as counting:
                (count,) = counting.execute(
                    statement("maintenance/expired", "count_expired_deliveries"), values
                ).fetchall()
            yield int(count)
        else:
            yield db.execute(statement("maintenance/expired", "purge_deliveries"), values).rowcount
        after = last


def find_unfinished_runs(db: Connection, *, before: datetime) -> list[int]:
    """Return the runs that were planned before an instant and have not ended."""
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("maintenance/expired", "unfinished_runs"), {"before": before}).fetchall()


def _key_parameters(values: Sequence[object]) -> dict[str, object]:
    return dict(zip(("first", "second", "third"), values, strict=False))


def _fetch_rows(db: Connection, name: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
    with db.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement("maintenance/expired", name), values).fetchall()
