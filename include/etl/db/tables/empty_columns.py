"""Optional columns that are null in every row: a wrong path is as silent as a field that a provider seldom sends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from etl.db.connection import Connection
from etl.db.tables import existing, versions
from etl.declare.entity import Column, Entity

MIN_ROWS = 20
"""Rows below which nothing is said: a field may be absent by chance."""

MAX_ROWS = 100_000
"""Rows that are looked at."""


@dataclass(frozen=True)
class EmptyColumns:
    """Columns that are null in every row.

    Parameters
    ----------
    columns
        The columns.
    rows
        Number of rows that were looked at.
    """

    columns: tuple[Column, ...]
    rows: int

    def __str__(self) -> str:
        """Return it as a sentence for logs and terminals."""
        places = ", ".join(f"{column.name} (path {column.path or column.name})" for column in self.columns)
        return (
            f"null in each of {self.rows:,} rows: {places}; if the provider sends any of these, fix its path, and "
            "increase the version"
        )


def find(db: Connection, entity: Entity) -> EmptyColumns | None:
    """Return the optional columns without a value; None if all have one, or if there are too few rows to tell."""
    return _find(db, entity, {column.name for column in entity.columns})


def find_added(db: Connection, entity: Entity) -> EmptyColumns | None:
    """Return those that the version before did not declare."""
    return _find(db, entity, versions.find(db, entity).added_columns(entity))


def _find(db: Connection, entity: Entity, names: Collection[str]) -> EmptyColumns | None:
    optional = [column for column in entity.stored_columns if column.name in names and not column.required]
    if not optional:
        return None
    looked_at = dict.fromkeys((*(column.name for column in optional), *entity.currencies))
    rows, counts = existing.count_values(db, entity, list(looked_at), limit=MAX_ROWS)
    # Of several columns for the currency, a row has only one.
    has_currency = any(counts[name] for name in entity.currencies)
    excused = entity.currencies if has_currency else ()
    empty = tuple(column for column in optional if not counts[column.name] and column.name not in excused)
    return EmptyColumns(empty, rows) if empty and rows >= MIN_ROWS else None
