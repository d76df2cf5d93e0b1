"""State of each entity: rows, freshness, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import scalar_row
from psycopg.sql import SQL

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.db.tables.entity_statements import EntityStatements
from etl.db.tables.layout import core_table
from etl.declare.entity import Entity
from etl.sync.store import field_warnings

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
        Rows of its core table, without those that are closed; from the statistics, and all of them, if there are many;
        0 if it has no table yet.
    loaded_at
        When it was last loaded; None if never.
    lag
        Seconds since `loaded_at`.
    rejects
        Open rejects: records, each once, that no later one of the same id has replaced.
    field_warnings
        Records of the last 30 days in which its current version left a bad field empty, or rounded an amount.
    quarantined_logins
        Logins whose latest batch was not loaded.
    pending_reconciliations
        Full reads of logins whose absent rows wait for approval.
    """

    entity: str
    rows: int
    loaded_at: datetime | None
    lag: float | None
    rejects: int
    field_warnings: int
    quarantined_logins: int
    pending_reconciliations: int


def entity_status(db: Connection, entity: Entity, *, as_of: datetime) -> EntityStatus:
    """Return the state of an entity; `as_of` is the current time."""
    values = {
        "entity": entity.name,
        "version": entity.version,
        "warned_since": as_of - field_warnings.SUMMARIZED_FOR,
    }
    (found,) = _SQL["of_entity"].dicts(db, values)
    loaded_at = found["loaded_at"]
    lag = None if loaded_at is None else (as_of - loaded_at).total_seconds()
    return EntityStatus(entity.name, _count_rows(db, entity), lag=lag, **found)


def count_active_accounts(db: Connection, *, provider: str) -> int:
    """Return how many provider accounts a run would ask."""
    return int(_CHUNKS_SQL["count_active_accounts"].scalar(db, {"provider": provider}))


def pages_per_account(db: Connection, *, source: str) -> float | None:
    """Return the average number of pages of an account in the latest downloads; None before the first download."""
    pages = _SQL["pages_per_account"].scalar(db, {"source": source})
    return None if pages is None else float(pages)


def _count_rows(db: Connection, entity: Entity) -> int:
    estimate = _SQL["estimate_rows"].scalar(db, {"relation": f"core.{entity.name}"})
    if estimate is None or estimate > MAX_COUNTED_ROWS:
        return int(estimate or 0)
    if "count_open" in (statements := EntityStatements(entity)):
        return int(statements["count_open"].scalar(db))
    with db.cursor(row_factory=scalar_row) as cursor:
        (rows,) = cursor.execute(SQL("select count(*) from {}").format(core_table(entity))).fetchall()
    return int(rows)
