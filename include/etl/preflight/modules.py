"""The files of a catalogue that entities and notices share: providers, queues, channels, retention and hooks."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
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

_QUEUES = "etl.catalog.queues"
_REQUIRED = {_QUEUES: ("QUEUES", "WORKER_GROUPS"), "etl.catalog.retention": ("RETENTION",)}
"""Module → names that it must define."""


def import_shared(files: Mapping[str, Path]) -> tuple[dict[str, ModuleType], list[DeclarationFault]]:
    """Import all modules of a catalogue but those of entities and notices.

    Parameters
    ----------
    files
        Name of each module, such as `catalog.providers.mybank` → its file.

    Returns
    -------
    tuple
        The modules by name, and the faults of those that cannot be imported.
    """
    modules: dict[str, ModuleType] = {}
    faults: list[DeclarationFault] = []
    for name, path in files.items():
        try:
            modules[name] = import_module(name)
        except fault.FAILURES as error:
            faults.append(fault.from_error(path.stem, path, error))
    for name, required in _REQUIRED.items():
        missing = [each for each in required if name in modules and not hasattr(modules[name], each)]
        if missing:
            reason = f"it does not define {', '.join(missing)}; write it"
            faults.append(DeclarationFault(files[name].stem, fault.project_path(files[name]), reason))
    return modules, faults


def find_repeated_keys(files: Iterable[Path]) -> Iterator[DeclarationFault]:
    """Yield a fault for each key that a dict of a file has twice: Python silently takes the last one."""
    for path in files:
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):  # Its import has failed, too.
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
    entities: Iterable[Entity], notices: Iterable[Notice], modules: Mapping[str, ModuleType]
) -> Iterator[DeclarationFault]:
    """Yield what only all declarations together show: unknown queues, and names that two providers or sources share."""
    queues = getattr(modules.get(_QUEUES), "QUEUES", None)
    entities = tuple(entities)
    declarations: tuple[Entity | Notice, ...] = (*entities, *notices)
    for declaration in declarations:
        if queues is not None and declaration.queue not in queues:
            yield _unknown_queue(declaration, queues)
    providers: dict[str, tuple[ModuleType, Provider]] = {}
    for name, module in modules.items():
        for value in vars(module).values() if ".providers." in name else ():
            if isinstance(value, Provider) and providers.setdefault(value.name, (module, value))[1] != value:
                other = _location(providers[value.name][0])
                reason = f"provider {value.name}: {other} has another one of this name; rename one"
                yield DeclarationFault(value.name, _location(module), reason)
    sources: dict[str, tuple[str, Source]] = {}
    for entity in entities:
        for source in (entity.source, entity.window):
            if isinstance(source, Source) and sources.setdefault(source.name, (entity.name, source))[1] != source:
                reason = (
                    f"entity {entity.name}: {sources[source.name][0]} has another source named {source.name}, and raw "
                    "batches, limits and quotas are told apart by that name; rename one"
                )
                yield DeclarationFault(entity.name, fault.catalog_path(f"entities/{entity.name}.py"), reason)


def _unknown_queue(declaration: Entity | Notice, queues: Iterable[Queue]) -> DeclarationFault:
    kind = "entity" if isinstance(declaration, Entity) else "notice"
    file = f"entities/{declaration.name}.py" if kind == "entity" else f"notices/{declaration.name}/notice.py"
    names = ", ".join(each.name for each in queues)
    reason = f"{kind} {declaration.name}: queue {declaration.queue.name} is not in QUEUES, which has {names}; add it"
    return DeclarationFault(declaration.name, fault.catalog_path(file), reason)


def _location(module: ModuleType) -> str:
    return fault.project_path(Path(module.__file__ or module.__name__))
