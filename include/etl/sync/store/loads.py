"""What became of every record of a batch."""

from dataclasses import asdict, dataclass

from psycopg.rows import class_row, scalar_row

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import statement


@dataclass(frozen=True)
class LoadCounts:
    """Records of a batch, by what became of them.

    Parameters
    ----------
    read
        All records; the sum of the others.
    inserted, updated, removed
        Rows that changed the core table.
    unchanged
        Rows that it held already.
    superseded
        Records that a later one, in the batch or loaded before, replaces.
    stale
        Records of accounts that another batch moved on first.
    rejected
        Records that could not be typed or broke a rule.
    """

    read: int
    inserted: int
    updated: int
    unchanged: int
    removed: int
    superseded: int
    stale: int
    rejected: int


def lock_entity(db: Connection, *, entity: str) -> None:
    """Keep every other load of an entity out until the transaction ends, if it has no cursors to lock."""
    locks.acquire_until_commit(db, f"load.{entity}")


def find(db: Connection, *, raw_id: int, entity: str, version: int) -> LoadCounts | None:
    """Return the counts of a batch that was loaded already."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    with db.cursor(row_factory=class_row(LoadCounts)) as cursor:
        return cursor.execute(statement("sync/loads", "find"), batch).fetchone()


def was_loaded(db: Connection, *, raw_id: int, entity: str) -> bool:
    """Return whether any version of an entity has loaded a batch."""
    with db.cursor(row_factory=scalar_row) as cursor:
        (found,) = cursor.execute(
            statement("sync/loads", "was_loaded"), {"raw_id": raw_id, "entity": entity}
        ).fetchall()
    return bool(found)


def find_later(db: Connection, *, raw_id: int, entity: str) -> list[int]:
    """Return the batches that were loaded and are later than another, in the order in which they were sealed."""
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("sync/loads", "find_later"), {"raw_id": raw_id, "entity": entity}).fetchall()


def record(db: Connection, counts: LoadCounts, *, raw_id: int, entity: str, version: int) -> None:
    """Keep the counts; the table refuses counts that do not add up."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    db.execute(statement("sync/loads", "record"), {**batch, **asdict(counts)})


def record_replay(db: Connection, counts: LoadCounts, *, raw_id: int, entity: str, version: int) -> None:
    """Keep what became of the records of a batch that was replayed."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    db.execute(statement("sync/loads", "record_replay"), {**batch, **asdict(counts)})
