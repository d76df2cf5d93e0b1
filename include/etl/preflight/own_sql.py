"""The SQL files of entities and notices, without a database: syntax, names, parameters, and what they return."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from etl import catalog_folder
from etl.catalog_folder import Kind
from etl.db.statements import path_of
from etl.declare.entity import Entity
from etl.declare.fault import DeclarationFault, project_path
from etl.declare.notice import RECIPIENT_COLUMNS, Notice
from etl.declare.sql_file import StatementText, find_statements
from etl.declare.statements.merge import RUN_PARTS
from etl.declare.statements.script import Script, ScriptInvalid, assemble, named_parts
from etl.errors import DeclarationError
from etl.sql_syntax import SqlInvalid, parse, returned_columns

BATCH = ("raw_id", "entity", "version")
"""Parameters that tell the batch that is merged."""

ENTITY_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "table": (),
    "before_merge": (),
    "existing_by_key": ("raw_id",),
    "existing_of_accounts": ("raw_id",),
    "closed_on": ("raw_id",),
    "merge": ("raw_id",),
    "remove": ("raw_id",),
    "close_pending": ("raw_id",),
    "close_held": ("raw_id",),
    "mark_outdated": ("raw_id", "entity", "feed_of_window", "snapshot_logins", "snapshots_sealed_at"),
    "drop_unconfirmed": (),
    "find_absent": BATCH,
    "find_untold": ("feed",),
    "count_live": BATCH,
    "close_absent": BATCH,
    "settle": ("within", "raw_id"),
    "drop_read_later": ("raw_id", "is_replay"),
    "restore_absent": ("raw_id", "provider_account_id"),
    "close_missing": ("raw_id", "version"),
    "count_open": (),
    "newly_linked": (),
    "drop_compared": (),
    "compare_replaced": ("feed", "max_shift", "max_gap", "always_tolerated", "tolerated_share"),
    "end_replaced": (),
    "repeated_corrections": (),
    "count_kept": (),
    "restore_replaced": ("old_provider_account_id",),
    "carried_corrections": (),
}
"""Statement that an entity may have → parameters that it gets; without any, it is run without values."""

_NOTICE_VALUES = ("run_id", "period", "as_of")
_PAGE = ("after", "stop", "limit")


def find_entity_faults(
    entities: Iterable[Entity], names: Collection[str], *, sql: Path | None = None
) -> Iterator[DeclarationFault]:
    """Yield the faults of the SQL files of entities.

    Parameters
    ----------
    names
        Names of all declared entities, including those that are wrong.
    sql
        Folder of the files; None for that of the catalogue.
    """
    yield from _find_strays(names, "entity", sql or _own_folder("entities"))
    for entity in entities:
        for name, statement in _read(_file("entities", entity.name, sql)):
            yield from _check_entity_statement(entity, name, statement)


def find_notice_faults(
    notices: Iterable[Notice], names: Collection[str], *, sql: Path | None = None
) -> Iterator[DeclarationFault]:
    """Yield the faults of the SQL files of notices; see `find_entity_faults`."""
    yield from _find_strays(names, "notice", sql or _own_folder("notices"))
    for notice in notices:
        yield from _check_notice(notice, _file("notices", notice.name, sql))


def notice_parameters(notice: Notice, statement: str) -> tuple[str, ...]:
    """Return the names of the parameters that a statement of a notice gets."""
    return (*notice.parameters, *_NOTICE_VALUES, *(_PAGE if statement == "recipients" else ()))


def find_columns(notice: Notice, *, sql: Path | None = None) -> tuple[str, ...] | None:
    """Return the columns of the audience of a notice; None if its SQL is wrong, or does not tell them by itself."""
    try:
        tree, _ = _parse("recipients", find_statements(_file("notices", notice.name, sql)))
    except (_Wrong, DeclarationError):
        return None
    return returned_columns(tree)


class _Wrong(ValueError):
    """A statement is wrong."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(reason)
        self.location = location
        self.reason = reason


def _parse(name: str, statements: Mapping[str, StatementText], *, has_values: bool = True) -> tuple[Any, Script]:
    """Return the tree of the only statement of this name, and the statement."""
    trees, script = _parse_all(name, statements, has_values=has_values)
    if len(trees) != 1:
        raise _Wrong(
            script.locate(0), f"it has {len(trees)} statements; keep one, and write a `-- name:` line above each other"
        )
    return trees[0], script


def _parse_all(name: str, statements: Mapping[str, StatementText], *, has_values: bool) -> tuple[list[Any], Script]:
    try:
        script = assemble(name, statements, parts=RUN_PARTS, has_values=has_values)
        return parse(script.text), script
    except ScriptInvalid as error:
        raise _Wrong(error.location, str(error)) from None
    except SqlInvalid as error:
        raise _Wrong(script.locate(error.position), f"{error.message}; write valid SQL") from None


def _check_entity_statement(entity: Entity, name: str, statement: StatementText) -> Iterator[DeclarationFault]:
    statements = find_statements(statement.path.with_name(f"{entity.name}.sql"))
    used = frozenset().union(*map(named_parts, statements.values()))
    if name not in ENTITY_PARAMETERS and name not in used:
        yield _fault(entity.name, statement.locate(0), name, _not_run(name, ENTITY_PARAMETERS))
        return
    parameters = ENTITY_PARAMETERS.get(name, ())
    try:
        if name == "table":
            _parse_all(name, statements, has_values=False)
            return
        _, script = _parse(name, statements, has_values=bool(parameters) or name not in ENTITY_PARAMETERS)
    except _Wrong as error:
        yield _fault(entity.name, error.location, name, error.reason)
        return
    if name in ENTITY_PARAMETERS:
        yield from _check_parameters(entity.name, name, script, parameters)


def _check_notice(notice: Notice, path: Path) -> Iterator[DeclarationFault]:
    statements = dict(_read(path))
    used = frozenset().union(*map(named_parts, statements.values()))
    for name, statement in statements.items():
        if name in used:
            continue
        if name not in ("bounds", "recipients"):
            yield _fault(notice.name, statement.locate(0), name, _not_run(name, ("bounds", "recipients")))
            continue
        try:
            tree, script = _parse(name, statements)
        except _Wrong as error:
            yield _fault(notice.name, error.location, name, error.reason)
            continue
        yield from _check_parameters(notice.name, name, script, notice_parameters(notice, name))
        wanted = RECIPIENT_COLUMNS if name == "recipients" else RECIPIENT_COLUMNS[:1]
        yield from _check_query(notice.name, name, script, tree, wanted)


def _check_parameters(owner: str, name: str, script: Script, parameters: Collection[str]) -> Iterator[DeclarationFault]:
    for number, parameter in enumerate(script.parameters, start=1):
        if parameter not in parameters:
            location = script.locate(script.text.index(f"${number}"))
            remedy = _suggest(parameter, parameters) or f"write one of {', '.join(parameters)}"
            yield _fault(owner, location, name, f"it has the parameter {parameter}, which it does not get; {remedy}")


def _check_query(
    owner: str, name: str, script: Script, tree: Mapping[str, Any], wanted: Collection[str]
) -> Iterator[DeclarationFault]:
    if "SelectStmt" not in tree:
        yield _fault(owner, script.locate(0), name, "it is no query, but runs within another one; write a select")
        return
    returned = returned_columns(tree)
    if returned is not None and (missing := [column for column in wanted if column not in returned]):
        yield _fault(owner, script.locate(0), name, f"it returns no column {', '.join(missing)}; add it")


def _find_strays(names: Collection[str], noun: str, sql: Path) -> Iterator[DeclarationFault]:
    """Yield a fault for each SQL file that belongs to no declaration."""
    for path in sorted(sql.glob("*.sql")):
        owner = path.name.partition(".")[0]
        if owner not in names:
            remedy = _suggest(owner, names) or "rename the file, or remove it"
            yield DeclarationFault(owner, project_path(path), f"no {noun} is named {owner}; {remedy}")


def _read(path: Path) -> Iterator[tuple[str, StatementText]]:
    """Yield the statements of a file, which discovery has read before; it may be missing."""
    try:
        yield from find_statements(path).items() if path.exists() else ()
    except DeclarationError:
        return


def _own_folder(kind: Kind) -> Path:
    """Return the folder whose files must all belong to a declaration; no one needs all of the shipped files."""
    return catalog_folder.find().sql_folder(kind)


def _file(kind: Kind, name: str, folder: Path | None) -> Path:
    return folder / f"{name}.sql" if folder else path_of(f"{kind}/{name}")


def _not_run(name: str, names: Collection[str]) -> str:
    remedy = _suggest(name, names) or f"write one of {', '.join(names)}, or remove it"
    return f"nothing runs a statement of this name; {remedy}"


def _suggest(name: str, names: Collection[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _fault(owner: str, location: str, statement: str, reason: str) -> DeclarationFault:
    return DeclarationFault(owner, location, f"statement {statement}: {reason}")
