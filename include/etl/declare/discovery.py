"""Discovers the entities and notices of a package: one declaration a file, and SQL where it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from etl import catalog_folder
from etl.catalog_folder import Kind
from etl.declare import consistency, fault
from etl.declare.entity import Entity
from etl.declare.fault import FAILURES, DeclarationFault
from etl.declare.notice import REQUIRED_STATEMENTS, Notice
from etl.declare.sql_file import require_readable, require_statements
from etl.declare.statements.merge import require_complete_merge
from etl.declare.validation import require_identifier
from etl.errors import DeclarationError

Declaration = TypeVar("Declaration", Entity, Notice)
_PLURALS: dict[type, str] = {Entity: "entities", Notice: "notices"}


def discover_entities(
    package: str | None = None, folders: Iterable[str] = (), *, sql: Path | None = None
) -> tuple[tuple[Entity, ...], tuple[DeclarationFault, ...]]:
    """Import the entities of a package.

    Parameters
    ----------
    package
        Its name; `<name>.py` in it declares the entity `<name>`. None for that of the catalogue in use.
    folders
        Its folders, as in `__path__`.
    sql
        Folder of the SQL files; None for those of the catalogue in use.

    Returns
    -------
    tuple
        The entities that can run, each after its dependencies, and the faults of the others.
    """
    catalog = catalog_folder.find()
    if package is None:
        if catalog.problem:
            return (), (DeclarationFault(catalog_folder.VARIABLE, catalog_folder.VARIABLE, catalog.problem),)
        package, folders = f"{catalog.package}.entities", [str(catalog.folder / "entities")]
    paths = _entity_files(folders)
    declared, faults = _import_all(Entity, package, paths)
    reasons = consistency.find_contradictions(declared, names=paths.keys())
    faults += [DeclarationFault(name, fault.project_path(paths[name]), reason) for name, reason in reasons.items()]

    def require_own_sql(entity: Entity) -> None:
        path = _sql_file("entities", entity.name, sql)
        require_readable(path)
        require_complete_merge(entity, path)

    faults += _find_faults(declared, paths, require_own_sql)
    return consistency.sort_by_dependency(_without_faulty(declared, faults)), _sort_by_name(faults)


def discover_notices(
    package: str | None = None,
    folders: Iterable[str] = (),
    *,
    sql: Path | None = None,
    entities: Path | None = None,
) -> tuple[tuple[Notice, ...], tuple[DeclarationFault, ...]]:
    """Import the notices of a package, as `discover_entities` does; `<name>/notice.py` in it declares `<name>`.

    Parameters
    ----------
    entities
        Folder of the entities that they may be scheduled after; None for that of the catalogue in use.

    Returns
    -------
    tuple
        The notices that can run, sorted by name, and the faults of the others.
    """
    catalog = catalog_folder.find()
    if package is None:
        if catalog.problem:
            return (), ()
        package, folders = f"{catalog.package}.notices", [str(catalog.folder / "notices")]
    entities = entities or catalog.folder / "entities"

    def require_others(notice: Notice) -> None:
        consistency.require_declared_entity(notice, _entity_files([str(entities)]).keys())
        require_statements(_sql_file("notices", notice.name, sql), REQUIRED_STATEMENTS)
        for name in notice.template_names:
            path = paths[notice.name].with_name(name)
            folders = (path.parent, *catalog.extended_templates(notice.name))
            if not any((folder / name).is_file() for folder in folders):
                raise DeclarationError(
                    f"{fault.project_path(path)} is missing; write the template of this part of the message"
                )

    paths = _notice_files(folders)
    declared, faults = _import_all(Notice, package, paths)
    faults += _find_faults(declared, paths, require_others)
    return tuple(_without_faulty(declared, faults).values()), _sort_by_name(faults)


def _sql_file(kind: Kind, name: str, folder: Path | None) -> Path:
    return folder / f"{name}.sql" if folder else catalog_folder.find().sql(kind, name)


def _entity_files(folders: Iterable[str]) -> dict[str, Path]:
    """Return the files that declare an entity, by its name."""
    files = (path for folder in folders for path in Path(folder).glob("[!.]*.py"))
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem) if path.name != "__init__.py"}


def _notice_files(folders: Iterable[str]) -> dict[str, Path]:
    """Return the files that declare a notice, by the name of their folder."""
    entries = sorted(path for folder in folders for path in Path(folder).glob("[!.]*"))
    files = {path.name: path / "notice.py" for path in entries if path.is_dir() and path.name != "__pycache__"}
    # A Python file beside the folders declares nothing, but is reported too, so that a misplaced notice is noticed.
    misplaced = {path.stem: path for path in entries if path.suffix == ".py" and path.name != "__init__.py"}
    return misplaced | files


def _import_all(
    declaration_type: type[Declaration], package: str, paths: Mapping[str, Path]
) -> tuple[dict[str, Declaration], list[DeclarationFault]]:
    declared: dict[str, Declaration] = {}
    faults: list[DeclarationFault] = []
    for name, path in paths.items():
        try:
            declared[name] = _import_declaration(declaration_type, package, name, path)
        except FAILURES as error:
            faults.append(fault.from_error(name, path, error))
    return declared, faults


def _import_declaration(declaration_type: type[Declaration], package: str, name: str, path: Path) -> Declaration:
    """Return the one entity or notice of a file."""
    noun, place = declaration_type.__name__.lower(), "folder" if declaration_type is Notice else "file"
    require_identifier(f"this {place}", "name", name)
    if declaration_type is Notice and path.name != "notice.py":
        raise DeclarationError(f"a notice is a folder with its templates; move this file to {name}/notice.py")
    if not path.is_file():
        raise DeclarationError(f"there is no such file; declare {noun} {name} in it, or remove its folder")
    module = import_module(f"{package}.{name}.notice" if declaration_type is Notice else f"{package}.{name}")
    declarations = {id(value): value for value in vars(module).values() if isinstance(value, declaration_type)}
    names = [declaration.name for declaration in declarations.values()]
    if not names:
        raise DeclarationError(
            f"it declares no {noun}; write one whose name is {name!r}: {declaration_type.__name__}(name={name!r}, …)"
        )
    if len(names) > 1:
        raise DeclarationError(
            f"it declares the {_PLURALS[declaration_type]} {', '.join(names)}; give each a {place} of its own name"
        )
    if names != [name]:
        raise DeclarationError(
            f"{noun} {names[0]}: name is not that of its {place}; write name={name!r}, or rename the {place}"
        )
    return next(iter(declarations.values()))


def _find_faults(
    declarations: Mapping[str, Declaration], paths: Mapping[str, Path], validate: Callable[[Declaration], None]
) -> list[DeclarationFault]:
    """Return the faults of the declarations that do not pass `validate`."""
    faults: list[DeclarationFault] = []
    for name, declaration in declarations.items():
        try:
            validate(declaration)
        except DeclarationError as error:
            noun = type(declaration).__name__.lower()
            faults.append(DeclarationFault(name, fault.project_path(paths[name]), f"{noun} {name}: {error}"))
        except FAILURES as error:
            faults.append(fault.from_error(name, paths[name], error))
    return faults


def _without_faulty(
    declarations: Mapping[str, Declaration], faults: Iterable[DeclarationFault]
) -> dict[str, Declaration]:
    faulty_names = {item.name for item in faults}
    return {name: declaration for name, declaration in declarations.items() if name not in faulty_names}


def _sort_by_name(faults: Iterable[DeclarationFault]) -> tuple[DeclarationFault, ...]:
    return tuple(sorted(faults, key=lambda item: item.name))
