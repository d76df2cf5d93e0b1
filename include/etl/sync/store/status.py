"""State of each entity: rows, freshness and rejects; and states of the provider accounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import scalar_row
from psycopg.sql import SQL, Identifier

from etl.db.connection import Connection
from etl.db.statements import StatementFile

MAX_COUNTED_ROWS = 1_000_000
"""Tables with more rows are not counted; their statistics are used instead."""

_SQL = StatementFile("sync/status")
_CHUNKS_SQL = StatementFile("sync/chunks")


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
        Seconds since `loaded_at`.
    rejects
        Records that are rejected and were not loaded since.
    """

    entity: str
    rows: int
    loaded_at: datetime | None
    lag: float | None
    rejects: int


def entity_status(db: Connection, *, entity: str, as_of: datetime) -> EntityStatus:
    """Return the state of an entity; `as_of` is the current time."""
    ((loaded_at, rejects),) = _SQL["of_entity"].rows(db, {"entity": entity})
    lag = None if loaded_at is None else (as_of - loaded_at).total_seconds()
    return EntityStatus(entity, _count_rows(db, entity), loaded_at, lag, rejects)


def accounts_by_state(db: Connection) -> dict[str, int]:
    """Return the number of provider accounts by state."""
    return dict(_SQL["accounts_by_state"].rows(db))


def count_active_accounts(db: Connection, *, provider: str) -> int:
    """Return how many provider accounts a run would sync."""
    return int(_CHUNKS_SQL["count_active_accounts"].scalar(db, {"provider": provider}))


def pages_per_account(db: Connection, *, source: str) -> float | None:
    """Return the average number of pages of an account in the latest downloads; None before the first download."""
    pages = _SQL["pages_per_account"].scalar(db, {"source": source})
    return None if pages is None else float(pages)


def _count_rows(db: Connection, entity: str) -> int:
    estimate = _SQL["estimate_rows"].scalar(db, {"relation": f"core.{entity}"})
    if estimate > MAX_COUNTED_ROWS:
        return int(estimate)
    with db.cursor(row_factory=scalar_row) as cursor:
        (rows,) = cursor.execute(SQL("select count(*) from core.{}").format(Identifier(entity))).fetchall()
    return int(rows)
