"""How much the warehouse holds, how fresh it is, and how clean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import scalar_row, tuple_row
from psycopg.sql import SQL, Identifier

from etl.db.connection import Connection
from etl.db.statements import statement

MAX_COUNTED_ROWS = 1_000_000
"""Rows up to which a table is counted; above, its statistics are told instead."""


@dataclass(frozen=True)
class EntityStatus:
    """State of an entity.

    Parameters
    ----------
    entity
        Its name.
    rows
        Rows of its core table; from the statistics if there are many.
    loaded_at
        When it was last loaded; None if never.
    lag
        Seconds since then.
    rejects
        Records that its current version rejects.
    """

    entity: str
    rows: int
    loaded_at: datetime | None
    lag: float | None
    rejects: int


def of_entity(db: Connection, *, entity: str, version: int, as_of: datetime) -> EntityStatus:
    """Return the state of an entity."""
    with db.cursor(row_factory=tuple_row) as cursor:
        query = statement("sync/status", "of_entity")
        ((loaded_at, rejects),) = cursor.execute(query, {"entity": entity, "version": version}).fetchall()
    lag = None if loaded_at is None else (as_of - loaded_at).total_seconds()
    return EntityStatus(entity, _count_rows(db, entity), loaded_at, lag, rejects)


def accounts_by_state(db: Connection) -> dict[str, int]:
    """Return how many provider accounts are in each state."""
    with db.cursor(row_factory=tuple_row) as cursor:
        return dict(cursor.execute(statement("sync/status", "accounts_by_state")).fetchall())


def count_active_accounts(db: Connection, *, provider: str) -> int:
    """Return how many provider accounts a run would ask about."""
    with db.cursor(row_factory=scalar_row) as cursor:
        (count,) = cursor.execute(statement("sync/chunks", "count_active_accounts"), {"provider": provider}).fetchall()
    return int(count)


def pages_per_account(db: Connection, *, source: str) -> float | None:
    """Return how many pages one account took on average in the latest downloads; None before the first."""
    with db.cursor(row_factory=scalar_row) as cursor:
        (pages,) = cursor.execute(statement("sync/status", "pages_per_account"), {"source": source}).fetchall()
    return None if pages is None else float(pages)


def _count_rows(db: Connection, entity: str) -> int:
    with db.cursor(row_factory=scalar_row) as cursor:
        (estimate,) = cursor.execute(
            statement("sync/status", "estimate_rows"), {"relation": f"core.{entity}"}
        ).fetchall()
        if estimate > MAX_COUNTED_ROWS:
            return int(estimate)
        (rows,) = cursor.execute(SQL("select count(*) from core.{}").format(Identifier(entity))).fetchall()
    return int(rows)
