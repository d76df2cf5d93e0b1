"""What a load costs Postgres."""

from __future__ import annotations

import time
from dataclasses import dataclass

from psycopg.rows import scalar_row
from psycopg.sql import SQL, Identifier
from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.sync.load import load

# Statistics first, so that the vacuum finds their rows too; and nothing has a hint bit before its commit is on disk.
_SETTLE_STATEMENTS = ("analyze", "checkpoint", "vacuum", "checkpoint")
_COUNT_TOUCHED = "select count(*) from {} where raw_id <> %s or xmax::text <> '0'"


@dataclass(frozen=True)
class LoadCost:
    """What one load took.

    Parameters
    ----------
    seconds
        Wall time of the step.
    wal_bytes
        Bytes of write-ahead log.
    """

    seconds: float
    wal_bytes: int


def measure_load(entity: Entity, raw_id: int, *, db: Connection, root: UPath) -> LoadCost:
    """Load a batch right after a checkpoint, into tables as the next day's run would find them."""
    for statement in _SETTLE_STATEMENTS:
        db.execute(statement)
    before = _wal_position(db)
    began = time.perf_counter()
    load(entity, raw_id, db=db, root=root)
    seconds = time.perf_counter() - began
    return LoadCost(seconds, _wal_position(db) - before)


def count_touched_rows(entity: Entity, first: int, *, db: Connection) -> int:
    """Return how many rows any batch but the first has written or locked."""
    query = SQL(_COUNT_TOUCHED).format(Identifier("core", entity.name))
    with db.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(query, (first,)).fetchall()[0])


def _wal_position(db: Connection) -> int:
    """Return how many bytes of log there are, written or not."""
    with db.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchall()[0])
