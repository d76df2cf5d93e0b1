"""Finds the entities that a package declares: one a file, each with a file of SQL statements."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from etl.declare import catalogue, fault
from etl.declare.entity import Entity
from etl.declare.fault import Fault
from etl.declare.statement_file import SQL_ROOT, require_statements
from etl.declare.values import require_identifier
from etl.errors import DeclarationError


def discover(
    package: str, folders: Iterable[str], *, sql: Path = SQL_ROOT / "entities"
) -> tuple[tuple[Entity, ...], tuple[Fault, ...]]:
    """Import the declarations of a package.

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
    files = (path for folder in folders for path in Path(folder).glob("[!.]*.py"))
    paths = {path.stem: path for path in files if path.name != "__init__.py"}
    declared: dict[str, Entity] = {}
    faults: list[Fault] = []
    for name, path in sorted(paths.items()):
        try:
            declared[name] = _declared(package, name)
        except Exception as error:  # noqa: BLE001 - a file may fail in any way, and its siblings go on
            faults.append(fault.of_error(name, path, error))
    wrong = catalogue.contradictions(declared, names=paths.keys())
    faults += [Fault(name, fault.shown(paths[name]), reason) for name, reason in wrong.items()]
    for name, entity in declared.items():
        try:
            require_statements(sql / f"{name}.sql", entity.statements)
        except DeclarationError as error:
            faults.append(Fault(name, fault.shown(paths[name]), f"entity {name}: {error}"))
    left_out = {found.entity for found in faults}
    running = {name: entity for name, entity in declared.items() if name not in left_out}
    return catalogue.in_order(running), tuple(sorted(faults, key=lambda found: found.entity))


def _declared(package: str, name: str) -> Entity:
    """Return the one entity of a file."""
    require_identifier("this file", "name", name)
    module = import_module(f"{package}.{name}")
    found = {id(value): value for value in vars(module).values() if isinstance(value, Entity)}
    names = [entity.name for entity in found.values()]
    if not names:
        raise DeclarationError(f"it declares no entity; write one whose name is {name!r}: Entity(name={name!r}, …)")
    if len(names) > 1:
        raise DeclarationError(f"it declares the entities {', '.join(names)}; give each a file of its own name")
    if names != [name]:
        raise DeclarationError(f"entity {names[0]}: name is not the file's; write name={name!r}, or rename the file")
    return next(iter(found.values()))
