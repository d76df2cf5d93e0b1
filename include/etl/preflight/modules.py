"""The files of a catalogue that entities and notices share: providers, queues, channels, retention and hooks."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from etl.declare import fault
from etl.declare.entity import Entity
from etl.declare.fault import DeclarationFault
from etl.declare.notice import Notice
from etl.declare.provider import Provider
from etl.declare.queue import Queue
from etl.declare.source import Source

_REQUIRED = {"queues": ("QUEUES", "WORKER_GROUPS"), "retention": ("RETENTION",)}
"""Module → names that it must define."""


def import_shared(package: str, folder: Path) -> tuple[dict[str, ModuleType], list[DeclarationFault]]:
    """Import all modules of a catalogue but those of entities and notices.

    Parameters
    ----------
    package
        Its name, such as `etl.catalog`.
    folder
        Its folder.

    Returns
    -------
    tuple
        The modules by name, such as `providers.plaid`, and the faults of those that cannot be imported.
    """
    modules: dict[str, ModuleType] = {}
    faults: list[DeclarationFault] = []
    for path in sorted((*folder.glob("*.py"), *folder.glob("providers/*.py"), *folder.glob("hooks/*.py"))):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        if path.name == "__init__.py":
            continue
        try:
            modules[name] = import_module(f"{package}.{name}")
        except fault.FAILURES as error:
            faults.append(fault.from_error(path.stem, path, error))
    for name, required in _REQUIRED.items():
        missing = [each for each in required if name in modules and not hasattr(modules[name], each)]
        if missing:
            location = _location(folder, name)
            faults.append(DeclarationFault(name, location, f"it does not define {', '.join(missing)}; write it"))
    return modules, faults


def find_repeated_keys(folder: Path) -> Iterator[DeclarationFault]:
    """Yield a fault for each key that a dict of a file has twice: Python silently takes the last one."""
    for path in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # Its import has failed, too.
            continue
        for node in ast.walk(tree):
            keys = [key for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
            for index, key in enumerate(keys):
                if ast.dump(key) in map(ast.dump, keys[:index]):
                    location = f"{fault.project_path(path)}:{key.lineno}"
                    reason = f"the key {ast.unparse(key)} stands twice, so that only the last one counts; remove one"
                    yield DeclarationFault(path.stem, location, reason)


def without_repeated(faults: Iterable[DeclarationFault], shared: Iterable[DeclarationFault]) -> list[DeclarationFault]:
    """Return the faults but those of declarations that only import a shared file that is wrong itself."""
    origins = [f"(raised at {each.location.rpartition(':')[0] or each.location}:" for each in shared]
    return [each for each in faults if not any(origin in each.reason for origin in origins)]


def find_mismatches(
    entities: Iterable[Entity], notices: Iterable[Notice], modules: dict[str, ModuleType], *, folder: Path
) -> Iterator[DeclarationFault]:
    """Yield what only all declarations together show: unknown queues, and names that two providers or sources share."""
    queues = getattr(modules.get("queues"), "QUEUES", None)
    entities = tuple(entities)
    declarations: tuple[Entity | Notice, ...] = (*entities, *notices)
    for declaration in declarations:
        if queues is not None and declaration.queue not in queues:
            yield _unknown_queue(declaration, queues, folder)
    providers: dict[str, tuple[str, Provider]] = {}
    for name, module in modules.items():
        for value in vars(module).values() if name.startswith("providers.") else ():
            if isinstance(value, Provider) and providers.setdefault(value.name, (name, value))[1] != value:
                other = _location(folder, providers[value.name][0])
                reason = f"provider {value.name}: {other} has another one of this name; rename one"
                yield DeclarationFault(value.name, _location(folder, name), reason)
    sources: dict[str, tuple[str, Source]] = {}
    for entity in entities:
        for source in (entity.source, entity.window):
            if isinstance(source, Source) and sources.setdefault(source.name, (entity.name, source))[1] != source:
                reason = (
                    f"entity {entity.name}: {sources[source.name][0]} has another source named {source.name}, and raw "
                    "batches, limits and quotas are told apart by that name; rename one"
                )
                yield DeclarationFault(entity.name, _location(folder, f"entities.{entity.name}"), reason)


def _unknown_queue(declaration: Entity | Notice, queues: Iterable[Queue], folder: Path) -> DeclarationFault:
    kind = "entity" if isinstance(declaration, Entity) else "notice"
    module = f"entities.{declaration.name}" if kind == "entity" else f"notices.{declaration.name}.notice"
    names = ", ".join(each.name for each in queues)
    reason = f"{kind} {declaration.name}: queue {declaration.queue.name} is not in QUEUES, which has {names}; add it"
    return DeclarationFault(declaration.name, _location(folder, module), reason)


def _location(folder: Path, module: str) -> str:
    return fault.project_path(folder.joinpath(*module.split(".")).with_suffix(".py"))
