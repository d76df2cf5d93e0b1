"""What a load costs Postgres."""

from __future__ import annotations

import time
from dataclasses import dataclass

from psycopg.rows import scalar_row
from psycopg.sql import SQL, Identifier
from upath import UPath

from etl.db.connection import Warehouse
from etl.declare.entity import Entity
from etl.sync.load import load

# Statistics first, so that the vacuum finds their rows too; and nothing has a hint bit before its commit is on disk.
_SETTLE = ("analyze", "checkpoint", "vacuum", "checkpoint")
_TOUCHED = "select count(*) from {} where raw_id <> %s or xmax::text <> '0'"


@dataclass(frozen=True)
class Cost:
    """What one load took.

    Parameters
    ----------
    seconds
        Wall time of the step.
    logged
        Bytes of write-ahead log.
    """

    seconds: float
    logged: int


def measured(entity: Entity, raw_id: int, *, warehouse: Warehouse, root: UPath) -> Cost:
    """Load a batch right after a checkpoint, into tables as the next day's run would find them."""
    for statement in _SETTLE:
        warehouse.execute(statement)
    before = _position(warehouse)
    began = time.perf_counter()
    load(entity, raw_id, warehouse=warehouse, root=root)
    seconds = time.perf_counter() - began
    return Cost(seconds, _position(warehouse) - before)


def touched(entity: Entity, first: int, *, warehouse: Warehouse) -> int:
    """Return how many rows any batch but the first has written or locked."""
    query = SQL(_TOUCHED).format(Identifier("core", entity.name))
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(query, (first,)).fetchall()[0])


def _position(warehouse: Warehouse) -> int:
    """Return how many bytes of log there are, written or not."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchall()[0])
