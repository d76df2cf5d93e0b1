"""The core table of an entity as Postgres has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Identifier, Literal

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.db.tables.layout import core_table
from etl.declare.entity import Entity

_SQL = StatementFile("db/tables/existing")


@dataclass(frozen=True)
class ExistingColumn:
    """A column of a table.

    Parameters
    ----------
    name, type
        Its name, and its type as `format_type` names it.
    is_required
        Whether it is `not null`.
    has_default
        Whether a row that does not say it gets a value.
    comment
        Its comment; empty if it has none.
    """

    name: str
    type: str
    is_required: bool
    has_default: bool
    comment: str


@dataclass(frozen=True)
class ExistingTable:
    """A table that exists.

    Parameters
    ----------
    columns
        Name → column.
    key
        Columns of its primary key.
    comment
        Its comment; empty if it has none.
    checks_references
        Whether it refuses rows of unknown logins or raw batches.
    keeps_history
        Whether it keeps the superseded versions of its rows.
    """

    columns: dict[str, ExistingColumn]
    key: tuple[str, ...]
    comment: str
    checks_references: bool
    keeps_history: bool


def find(db: Connection, entity: Entity) -> ExistingTable | None:
    """Return the core table of an entity; None if there is none."""
    table = {"table": f"core.{entity.name}"}
    columns = _SQL["columns"].objects(db, ExistingColumn, table)
    if not columns:
        return None
    (properties,) = _SQL["properties"].dicts(db, table)
    by_name = {column.name: column for column in columns}
    return ExistingTable(by_name, tuple(_SQL["key"].scalars(db, table)), **properties)


def has_rows(db: Connection, entity: Entity, *, null_in: str | None = None) -> bool:
    """Return whether the table has a row, or one without a value in a column."""
    condition = SQL(" where {} is null").format(Identifier(null_in)) if null_in else SQL("")
    query = SQL("select exists (select from {}{})").format(core_table(entity), condition)
    ((found,),) = db.execute(query).fetchall()
    return bool(found)


def count_values(db: Connection, entity: Entity, columns: Sequence[str], *, limit: int) -> tuple[int, dict[str, int]]:
    """Return the number of rows of the table, and of those with a value in each column, of its first `limit` rows."""
    names = [Identifier(name) for name in columns]
    query = SQL("select count(*), {counts} from (select {names} from {table} limit {limit}) as t").format(
        counts=SQL(", ").join(SQL("count({})").format(name) for name in names),
        names=SQL(", ").join(names),
        table=core_table(entity),
        limit=Literal(limit),
    )
    ((rows, *counts),) = db.execute(query).fetchall()
    return rows, dict(zip(columns, counts, strict=True))


def find_views(db: Connection, entity: Entity, column: str) -> list[str]:
    """Return the views that show a column of the table."""
    return _SQL["views_of_column"].scalars(db, {"table": f"core.{entity.name}", "column": column})
