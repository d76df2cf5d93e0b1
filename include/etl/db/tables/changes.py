"""What has to change for a core table to be as its entity declares it, and what a person has to change first.

A column is added, widened, or allowed to be null without touching a value. Everything else could lose values or stop
loads, and is refused with the statements that would do it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.db.tables import existing, versions
from etl.db.tables.existing import ExistingColumn, ExistingTable
from etl.db.tables.layout import TableColumn, column_definition, core_table, is_partitioned, table_columns
from etl.db.tables.versions import Versions
from etl.declare.entity import Entity
from etl.declare.fault import catalog_path
from etl.declare.source import Feed, Recent

_TEMPLATES = StatementFile("entities/templates/table")
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_INTEGER_DIGITS = {"smallint": 5, "integer": 10}


@dataclass(frozen=True)
class Change:
    """A change of a table that loses nothing.

    Parameters
    ----------
    table
        The table, such as `core.accounts`.
    summary
        What changes.
    query
        The statements that do it.
    """

    table: str
    summary: str
    query: Composed

    def __str__(self) -> str:
        return f"{self.table}: {self.summary}"


@dataclass(frozen=True)
class Obstacle:
    """A difference that a person has to decide on.

    Parameters
    ----------
    table
        The table, such as `core.accounts`.
    found
        What differs.
    remedy
        What to do.
    """

    table: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.table}: {self.found}; {self.remedy}"


@dataclass(frozen=True)
class TablePlan:
    """What has to be done for an entity's table.

    Parameters
    ----------
    entity
        The entity.
    changes
        The changes, in their order.
    obstacles
        What has to be decided before any of them is made.
    is_recorded
        Whether it is recorded what its version declares.
    needs_replay
        Whether rows were loaded by earlier versions only.
    """

    entity: Entity
    changes: tuple[Change, ...]
    obstacles: tuple[Obstacle, ...]
    is_recorded: bool
    needs_replay: bool


def plan(db: Connection, entity: Entity) -> TablePlan:
    """Compare an entity with its table."""
    table = existing.find(db, entity)
    recorded = versions.find(db, entity)
    differences: list[Change | Obstacle]
    if table is None:
        differences = [*_create(entity)]
    else:
        differences = [*_compare(db, entity, table), *_find_leftovers(db, entity, table, recorded)]
    differences += [*_describe(entity, table), *_change_history(entity, table), *_find_edited_version(entity, recorded)]
    return TablePlan(
        entity,
        tuple(item for item in differences if isinstance(item, Change)),
        tuple(item for item in differences if isinstance(item, Obstacle)),
        is_recorded=not recorded.is_new(entity),
        needs_replay=recorded.needs_replay(entity),
    )


def _create(entity: Entity) -> Iterator[Change]:
    partitioning = SQL(" partition by hash (provider_account_id)") if is_partitioned(entity) else SQL("")
    columns = SQL(",\n    ").join(column_definition(entity, column) for column in table_columns(entity))
    key = SQL(", ").join(map(Identifier, entity.key))
    yield _change(entity, "create", "create it", columns=columns, key=key, partitioning=partitioning)
    if is_partitioned(entity):
        name = Literal(entity.name)
        yield _change(entity, "create_partitions", "divide it by provider account into 16 partitions", name=name)
        yield _check_references(entity)


def _compare(db: Connection, entity: Entity, table: ExistingTable) -> Iterator[Change | Obstacle]:
    """Compare what the declaration asks for with what the table has."""
    if set(table.key) != set(entity.key):
        has, wants = (", ".join(key) or "none" for key in (table.key, entity.key))
        source = " and another name of its source" if isinstance(entity.source, Feed | Recent) else ""
        yield _obstacle(
            entity,
            f"its primary key is {has}, and {wants} is declared",
            f"declare another entity with the new key{source}, and drop this one once that is loaded; or see that the "
            f"new key is unique, and change it: {_alter(entity)} drop constraint …, add primary key ({wants});",
        )
    for column in table_columns(entity):
        if column.name not in table.columns:
            yield _add(db, entity, column)
        else:
            yield from _fit(db, entity, column, table.columns[column.name])
    if is_partitioned(entity) and not table.checks_references:
        yield _check_references(entity)


def _add(db: Connection, entity: Entity, column: TableColumn) -> Change | Obstacle:
    if column.is_required and existing.has_rows(db, entity):
        return _obstacle(
            entity,
            f"column {column.name} is missing and required, and the rows that exist have no value for it",
            f"declare it with required=False, run `sluice migrate` and `sluice replay {entity.name}`; remove "
            "required=False once no row lacks it",
        )
    definition = column_definition(entity, column)
    return _change(entity, "add_column", f"add column {column.name} {column.type}", column=definition)


def _fit(db: Connection, entity: Entity, column: TableColumn, found: ExistingColumn) -> Iterator[Change | Obstacle]:
    """Fit type and nullability of a column."""
    name = Identifier(column.name)
    if found.type != column.type:
        yield _widen(db, entity, column, found)
    if found.is_required and not column.is_required:
        yield _change(entity, "allow_null", f"allow null in column {column.name}", column=name)
    elif column.is_required and not found.is_required:
        if existing.has_rows(db, entity, null_in=column.name):
            yield _obstacle(
                entity,
                f"column {column.name} is declared as required, and some rows have no value for it",
                f"`sluice replay {entity.name}` fills those whose records have one; if others stay, declare it with "
                "required=False",
            )
        else:
            yield _change(entity, "forbid_null", f"forbid null in column {column.name}", column=name)


def _widen(db: Connection, entity: Entity, column: TableColumn, found: ExistingColumn) -> Change | Obstacle:
    what = f"column {column.name} is {found.type}, and {column.type} is declared"
    if not _holds_all(column.type, found.type):
        return _obstacle(
            entity,
            what,
            f"restore the kind of the column, and declare the new kind under another name, which `sluice replay "
            f"{entity.name}` fills; or convert it: {_alter(entity)} alter column {column.name} type {column.type} "
            f"using {column.name}::{column.type};",
        )
    if views := existing.find_views(db, entity, column.name):
        return _obstacle(
            entity,
            f"{what}, but a view shows it",
            f"run `drop view {', '.join(views)};` and then `sluice migrate`, which creates the views of Sluice again",
        )
    parts = {"column": Identifier(column.name), "type": SQL(column.type)}
    change = _change(entity, "widen_column", f"widen column {column.name} from {found.type} to {column.type}", **parts)
    if not entity.history:
        return change
    history = Identifier("core", f"{entity.name}_history")
    return Change(
        change.table, change.summary, change.query + _TEMPLATES["widen_column"].format(table=history, **parts)
    )


def _find_leftovers(db: Connection, entity: Entity, table: ExistingTable, recorded: Versions) -> Iterator[Obstacle]:
    """Yield the columns that are no longer declared, and those that no load could fill."""
    expected = {column.name for column in table_columns(entity)}
    removed = recorded.removed_columns(entity)
    for name, column in table.columns.items():
        if name in expected:
            continue
        drop_views = "".join(f"drop view {view}; " for view in existing.find_views(db, entity, name))
        drop = f"drop it with its values: {drop_views}{_alter(entity)} drop column {name};"
        if name in removed:
            yield _obstacle(entity, f"column {name} is no longer declared", f"declare it again, or {drop}")
        elif column.is_required and not column.has_default:
            yield _obstacle(
                entity,
                f"column {name} is not declared, and no row may lack it, so that nothing could be inserted",
                f"declare it, give it a default, or {drop}",
            )


def _describe(entity: Entity, table: ExistingTable | None) -> Iterator[Change]:
    """Yield the change of comments to what is declared; those of columns without a summary are left alone."""
    names, queries = [], []
    if table is None or table.comment != entity.summary:
        names.append("the table")
        queries.append(_compose("describe_table", entity, comment=Literal(entity.summary)))
    for column in table_columns(entity):
        before = table.columns[column.name].comment if table and column.name in table.columns else ""
        if column.comment not in ("", before):
            names.append(column.name)
            parts = {"column": Identifier(column.name), "comment": Literal(column.comment)}
            queries.append(_compose("describe_column", entity, **parts))
    if queries:
        yield Change(f"core.{entity.name}", f"describe {', '.join(names)}", SQL("").join(queries))


def _change_history(entity: Entity, table: ExistingTable | None) -> Iterator[Change]:
    if entity.history != (table is not None and table.keeps_history):
        name, summary = (
            ("keep", "keep the superseded versions of its rows")
            if entity.history
            else ("stop", "keep no more versions of its rows")
        )
        query = SQL("select core.{}({})").format(Identifier(f"{name}_history"), Literal(entity.name))
        yield Change(f"core.{entity.name}", summary, query)


def _find_edited_version(entity: Entity, recorded: Versions) -> Iterator[Obstacle]:
    if changes := recorded.find_changes(entity):
        yield _obstacle(
            entity,
            f"version {entity.version} has loaded batches, and its declaration changed since: {', '.join(changes)}",
            f"write version={recorded.next_number} in {catalog_path(f'entities/{entity.name}.py')}, run "
            f"`sluice migrate`, and `sluice replay {entity.name}` for the rows that are loaded already",
        )


def _check_references(entity: Entity) -> Change:
    name = f"core.{entity.name}"
    return _change(
        entity,
        "check_references",
        "check references once per statement",
        table_name=Literal(name),
        keeps_rows=Identifier(f"keeps_{entity.name}"),
        keeps_all_rows=Identifier(f"keeps_all_{entity.name}"),
    )


def _change(entity: Entity, template: str, summary: str, **parts: Composable) -> Change:
    return Change(f"core.{entity.name}", summary, _compose(template, entity, **parts))


def _compose(template: str, entity: Entity, **parts: Composable) -> Composed:
    return _TEMPLATES[template].format(table=core_table(entity), **parts)


def _obstacle(entity: Entity, found: str, remedy: str) -> Obstacle:
    return Obstacle(f"core.{entity.name}", found, remedy)


def _alter(entity: Entity) -> str:
    return f"alter table core.{entity.name}"


def _holds_all(wider: str, narrower: str) -> bool:
    """Return whether a type holds every value of another one exactly."""
    if wider == "text":
        return narrower.startswith("character varying")
    if wider == "bigint":
        return narrower in _INTEGER_DIGITS
    bounds = _NUMERIC.fullmatch(wider)
    if bounds is None:
        return False
    precision, scale = map(int, bounds.groups())
    digits = precision - scale
    if narrower in _INTEGER_DIGITS:
        return _INTEGER_DIGITS[narrower] <= digits
    inner = _NUMERIC.fullmatch(narrower)
    return inner is not None and int(inner[2]) <= scale and int(inner[1]) - int(inner[2]) <= digits
