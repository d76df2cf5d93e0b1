"""Finds what a package declares: one entity or one notice a file, each with a file of SQL statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from etl.declare import catalogue, fault
from etl.declare.entity import Entity
from etl.declare.fault import INCLUDE, Fault
from etl.declare.notice import STATEMENTS, Notice
from etl.declare.statement_file import SQL_ROOT, require_statements
from etl.declare.values import require_identifier
from etl.errors import DeclarationError

TEMPLATE_ROOT = INCLUDE / "notices"
"""A folder of templates for each notice."""

ENTITY_ROOT = INCLUDE / "etl" / "catalog" / "entities"
"""The files of the entities that a notice may follow."""

Declared = TypeVar("Declared", Entity, Notice)
_PLURALS: dict[type, str] = {Entity: "entities", Notice: "notices"}


def discover_entities(
    package: str, folders: Iterable[str], *, sql: Path = SQL_ROOT / "entities"
) -> tuple[tuple[Entity, ...], tuple[Fault, ...]]:
    """Import the entities of a package.

    Parameters
    ----------
    package
        Its name; `<name>.py` in it declares the entity `<name>`.
    folders
        Where it lies, as `__path__` tells.
    sql
        Folder of the SQL files.

    Returns
    -------
    tuple
        The entities that can run, each after those that it follows, and what is wrong with the others.
    """
    paths = _files(folders)
    declared, faults = _read(Entity, package, paths)
    wrong = catalogue.contradictions(declared, names=paths.keys())
    faults += [Fault(name, fault.shown(paths[name]), reason) for name, reason in wrong.items()]
    faults += _refused(
        declared, paths, lambda entity: require_statements(sql / f"{entity.name}.sql", entity.statements)
    )
    return catalogue.in_order(_without(declared, faults)), _in_order(faults)


def discover_notices(
    package: str,
    folders: Iterable[str],
    *,
    sql: Path = SQL_ROOT / "notices",
    templates: Path = TEMPLATE_ROOT,
    entities: Path = ENTITY_ROOT,
) -> tuple[tuple[Notice, ...], tuple[Fault, ...]]:
    """Import the notices of a package, as `discover_entities` does.

    Parameters
    ----------
    templates
        Folder of the folders of templates.
    entities
        Folder of the entities that they may follow.

    Returns
    -------
    tuple
        The notices that can run, by name, and what is wrong with the others.
    """

    def require_others(notice: Notice) -> None:
        catalogue.require_followed(notice, _files([str(entities)]).keys())
        require_statements(sql / f"{notice.name}.sql", STATEMENTS)
        for name in notice.templates:
            path = templates / notice.name / name
            if not path.is_file():
                raise DeclarationError(f"{fault.shown(path)} is missing; write what this part of the message says")

    paths = _files(folders)
    declared, faults = _read(Notice, package, paths)
    faults += _refused(declared, paths, require_others)
    return tuple(_without(declared, faults).values()), _in_order(faults)


def _files(folders: Iterable[str]) -> dict[str, Path]:
    """Return the files that declare something, by its name."""
    files = (path for folder in folders for path in Path(folder).glob("[!.]*.py"))
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem) if path.name != "__init__.py"}


def _read(kind: type[Declared], package: str, paths: Mapping[str, Path]) -> tuple[dict[str, Declared], list[Fault]]:
    declared: dict[str, Declared] = {}
    faults: list[Fault] = []
    for name, path in paths.items():
        try:
            declared[name] = _declared(kind, package, name)
        except Exception as error:  # noqa: BLE001 - a file may fail in any way, and its siblings go on
            faults.append(fault.of_error(name, path, error))
    return declared, faults


def _declared(kind: type[Declared], package: str, name: str) -> Declared:
    """Return the one entity or notice of a file."""
    require_identifier("this file", "name", name)
    noun = kind.__name__.lower()
    module = import_module(f"{package}.{name}")
    found = {id(value): value for value in vars(module).values() if isinstance(value, kind)}
    names = [value.name for value in found.values()]
    if not names:
        raise DeclarationError(
            f"it declares no {noun}; write one whose name is {name!r}: {kind.__name__}(name={name!r}, …)"
        )
    if len(names) > 1:
        raise DeclarationError(f"it declares the {_PLURALS[kind]} {', '.join(names)}; give each a file of its own name")
    if names != [name]:
        raise DeclarationError(f"{noun} {names[0]}: name is not the file's; write name={name!r}, or rename the file")
    return next(iter(found.values()))


def _refused(
    declared: Mapping[str, Declared], paths: Mapping[str, Path], require: Callable[[Declared], None]
) -> list[Fault]:
    """Return the faults of those whose other files are not as they must be."""
    faults: list[Fault] = []
    for name, value in declared.items():
        try:
            require(value)
        except DeclarationError as error:
            noun = type(value).__name__.lower()
            faults.append(Fault(name, fault.shown(paths[name]), f"{noun} {name}: {error}"))
    return faults


def _without(declared: Mapping[str, Declared], faults: Iterable[Fault]) -> dict[str, Declared]:
    left_out = {found.name for found in faults}
    return {name: value for name, value in declared.items() if name not in left_out}


def _in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda found: found.name))
