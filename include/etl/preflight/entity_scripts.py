"""The statements that a load of an entity runs: those of its SQL file, and those that are composed."""

from __future__ import annotations

from collections.abc import Iterator

from etl.db.statements import Statement, StatementFile, path_of
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import Entity
from etl.declare.source import Recent
from etl.declare.sql_file import StatementText, find_statements
from etl.declare.statements.script import Script, assemble
from etl.preflight.own_sql import ENTITY_PARAMETERS
from etl.sync.recent import RecentStatements

_NOT_RUN = frozenset({"table", "closed_on", "existing_by_key", "existing_of_accounts"})
"""`table` is run by `sluice migrate`, and the others are parts of `merge`."""

_LOOKUPS = ("existing_by_key", "existing_of_accounts")
"""Statements of which either takes the place of `{existing}`."""


def own_scripts(entity: Entity) -> Iterator[tuple[str, Script]]:
    """Yield the statements of the SQL file of an entity, in their order, each with its name."""
    statements = EntityStatements(entity)
    found = find_statements(path_of(f"entities/{entity.name}")) if statements.own else {}
    for name in found:
        if name in ENTITY_PARAMETERS and name not in _NOT_RUN:
            for parts in _parts(statements, found[name].text):
                yield name, assemble(name, found, parts=parts, has_values=bool(ENTITY_PARAMETERS[name]))


def composed_scripts(entity: Entity) -> Iterator[tuple[str, Script]]:
    """Yield the composed statements of an entity, each with its name."""
    statements = EntityStatements(entity)
    composed = {name: statements[name] for name in sorted(statements.names - statements.own - _NOT_RUN)}
    if isinstance(entity.source, Recent):
        of_recent = RecentStatements(entity, entity.source)
        names = ("drop_read_later", "find_absent", "count_live", *(("settle",) if entity.settlement else ()))
        composed |= {name: of_recent[name] for name in names if name not in statements.own}
    for name, statement in composed.items():
        text = StatementText(path_of(f"entities/{entity.name}"), 1, statement.as_string(None))
        for parts in _parts(statements, text.text):
            yield name, assemble(name, {name: text}, parts=parts)


def _parts(statements: EntityStatements, text: str) -> Iterator[dict[str, str]]:
    """Yield the statements that a load puts into another one, for each of their choices."""
    rejected = {"rejected": _as_part(StatementFile("sync/rejects")["open_of_batch"])}
    if "{existing}" not in text:
        yield rejected
        return
    for lookup in _LOOKUPS:
        if lookup in statements:
            yield {**rejected, "existing": _as_part(statements[lookup])}


def _as_part(statement: Statement) -> str:
    """Return a statement as a part of another one; the line break ends a comment in its last line."""
    return statement.as_string(None).strip().removesuffix(";") + "\n"
