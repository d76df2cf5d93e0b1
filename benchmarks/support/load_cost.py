"""Measures a load: its time, its write-ahead log, and the rows that it touches."""

from __future__ import annotations

import time
from dataclasses import dataclass

from psycopg.sql import SQL, Identifier
from upath import UPath

from etl.db.connection import Connection
from etl.db.statements import Statement
from etl.declare.entity import Entity
from etl.sync.load import load

# Statistics first, so that the vacuum also covers their rows; and a checkpoint before it, since no row gets a hint bit
# before its commit is on disk.
_SETTLE_STATEMENTS = ("analyze", "checkpoint", "vacuum", "checkpoint")
_WAL_POSITION = Statement("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
_COUNT_TOUCHED = "select count(*) from {} where raw_id <> %s or xmax::text <> '0'"


@dataclass(frozen=True)
class LoadCost:
    """The cost of one load.

    Parameters
    ----------
    seconds
        Wall time of the step.
    wal_bytes
        Bytes that it added to the write-ahead log.
    """

    seconds: float
    wal_bytes: int


def measure_load(entity: Entity, raw_id: int, *, db: Connection, root: UPath) -> LoadCost:
    """Measure the load of a batch right after a checkpoint, with tables as the next day's run would find them."""
    for statement in _SETTLE_STATEMENTS:
        db.execute(statement)
    before = wal_position(db)
    began = time.perf_counter()
    load(entity, raw_id, db=db, root=root)
    seconds = time.perf_counter() - began
    return LoadCost(seconds, wal_position(db) - before)


def count_touched_rows(entity: Entity, first: int, *, db: Connection) -> int:
    """Return how many rows were written or locked by any batch but the first."""
    query = SQL(_COUNT_TOUCHED).format(Identifier("core", entity.name))
    ((count,),) = db.execute(query, (first,)).fetchall()
    return int(count)


def wal_position(db: Connection) -> int:
    """Return the size of the write-ahead log so far in bytes, flushed or not."""
    return int(_WAL_POSITION.scalar(db))
