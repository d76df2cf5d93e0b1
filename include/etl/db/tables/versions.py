"""What each version of an entity declared: a change under the same number would leave rows that are typed both ways.

A version is a name for the columns, the checks and the hook by which a batch was typed. It is not increased by itself:
the next number makes each batch count as not loaded, and whether a change is worth that is for a person to decide.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum

from psycopg.types.json import Jsonb

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.declare.entity import Entity
from etl.declare.source import RawOf

_SQL = StatementFile("db/tables/versions")
_COLUMN = "column "
_MAX_CHANGES_NAMED = 5
_NOT_TYPED = ("name", "summary")
"""Fields of a declaration that change no row."""

Declared = Mapping[str, str]


@dataclass(frozen=True)
class Versions:
    """The versions of an entity that were recorded.

    Parameters
    ----------
    declared
        Version → what it declared, the latest record first.
    has_loaded
        Whether the version that is declared now has loaded a batch.
    has_loaded_before
        Whether any version has.
    """

    declared: Mapping[int, Declared]
    has_loaded: bool
    has_loaded_before: bool

    def find_changes(self, entity: Entity) -> list[str]:
        """Return what changed since the declared version was recorded and loaded; empty if it is still the same."""
        before = self.declared.get(entity.version)
        return _compare(before, describe(entity)) if before is not None and self.has_loaded else []

    def is_new(self, entity: Entity) -> bool:
        """Return whether the declaration must be recorded: a new version, or one that has loaded nothing yet."""
        return self.declared.get(entity.version) != describe(entity)

    def needs_replay(self, entity: Entity) -> bool:
        """Return whether this is a new version of an entity whose earlier ones have loaded rows."""
        return bool(self.declared) and entity.version not in self.declared and self.has_loaded_before

    @property
    def next_number(self) -> int:
        """Return the number after all that were recorded."""
        return max(self.declared, default=0) + 1

    def added_columns(self, entity: Entity) -> set[str]:
        """Return the columns that the version before did not declare; all of them if there was none."""
        before = max((number for number in self.declared if number < entity.version), default=None)
        declared = {} if before is None else self.declared[before]
        return {column.name for column in entity.columns if f"{_COLUMN}{column.name}" not in declared}

    def removed_columns(self, entity: Entity) -> set[str]:
        """Return the columns that an earlier version declared, and that are not declared any more."""
        names = {
            key.removeprefix(_COLUMN) for each in self.declared.values() for key in each if key.startswith(_COLUMN)
        }
        return names - {column.name for column in entity.stored_columns}


def find(db: Connection, entity: Entity) -> Versions:
    """Return the versions of an entity that were recorded."""
    if not _SQL["exists"].scalar(db):
        return Versions({}, has_loaded=False, has_loaded_before=False)
    declared = dict(_SQL["of_entity"].rows(db, {"entity": entity.name}))
    loaded, loaded_before = (
        bool(_SQL["has_loaded"].scalar(db, {"entity": entity.name, "version": version}))
        for version in (entity.version, None)
    )
    return Versions(declared, has_loaded=loaded, has_loaded_before=loaded_before)


def create_table(db: Connection) -> None:
    """Create the table of versions, unless it exists."""
    _SQL["create_table"].run(db)


def record(db: Connection, entity: Entity) -> None:
    """Record what the version of an entity declares."""
    values = {"entity": entity.name, "version": entity.version, "declared": Jsonb(describe(entity))}
    _SQL["record"].run(db, values)


def describe(entity: Entity) -> dict[str, str]:
    """Return all of a declaration on which the values of its rows depend, each part by its name."""
    described = {
        "key": ", ".join(entity.key),
        **{f"{_COLUMN}{column.name}": _deviations(column) for column in entity.columns},
        **{f"check {check.rule}({', '.join(check.columns)})": _deviations(check) for check in entity.checks},
        **{f"source {name}": repr(paths) for name, paths in entity.sources.items()},
        "currencies": ", ".join(entity.currencies),
        "replaces": entity.replaces or "",
        "newest_by": entity.newest_by or "",
        "having": entity.source.having if isinstance(entity.source, RawOf) else "",
        "hook": _digest_module(entity.hook.__module__) if entity.hook else "",
    }
    return {name: text for name, text in described.items() if text or name.startswith(("column", "check"))}


def _deviations(declaration: object) -> str:
    """Return the fields of a declaration that have not their default, so that a new field changes no description."""
    if not is_dataclass(declaration):
        return ""
    deviations = []
    for field in fields(declaration):
        value = getattr(declaration, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.name not in _NOT_TYPED and value != default:
            deviations.append(f"{field.name}={value.name if isinstance(value, Enum) else repr(value)}")
    return ", ".join(deviations)


def _digest_module(name: str) -> str:
    """Return a digest of a module's code, without comments, docstrings and layout."""
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def _compare(before: Declared, now: Declared) -> list[str]:
    """Return what differs, in words; only the first differences are named."""
    differences = [f"{name} is new" for name in now if name not in before]
    differences += [f"{name} is gone" for name in before if name not in now]
    differences += [f"{name} changed" for name in now if name in before and before[name] != now[name]]
    rest = len(differences) - _MAX_CHANGES_NAMED
    return differences[:_MAX_CHANGES_NAMED] + ([f"{rest} more"] if rest > 0 else [])
