"""An entity's own `merge`, which takes the place of the composed one: it must write every column that is declared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from etl.declare.column import PROVIDER_ACCOUNT
from etl.declare.entity import Entity
from etl.declare.sql_file import find_statements
from etl.declare.statements.script import Script, ScriptInvalid, assemble
from etl.errors import DeclarationError
from etl.sql_syntax import SqlInvalid, Write, find_writes, parse

RUN_PARTS = {"existing": "select", "rejected": "select"}
"""Names in braces that a load replaces by other statements → statements of the same syntax."""

_KEPT = ("observed_at", "raw_id")
"""Columns of every table that a merge writes, too."""


def require_complete_merge(entity: Entity, path: Path) -> None:
    """Refuse a `merge` that forgets a declared column: it would be null in new rows, or old in changed ones.

    Only what the statement itself writes to the table is compared; one that calls a function is not known.

    Raises
    ------
    DeclarationError
        With the file, the line and the columns.
    """
    statements = find_statements(path) if path.exists() else {}
    if "merge" not in statements:
        return
    try:
        script = assemble("merge", statements, parts=RUN_PARTS)
        writes = list(find_writes(parse(script.text), entity.name, schema="core"))
    except ScriptInvalid as error:
        raise DeclarationError(f"{error.location}: statement merge: {error}") from None
    except SqlInvalid as error:
        raise DeclarationError(
            f"{script.locate(error.position)}: statement merge: {error.message}; write valid SQL"
        ) from None
    for forgotten, verb in ((_not_inserted(entity, writes), "inserts"), (_not_assigned(entity, writes), "updates")):
        if forgotten:
            raise DeclarationError(
                f"{_start(script)}: statement merge {verb} rows without {', '.join(forgotten)}, which the entity "
                "declares; add it, or remove the statement: the composed one has every column"
            )


def _start(script: Script) -> str:
    return script.locate(len(script.text) - len(script.text.lstrip()))


def _not_inserted(entity: Entity, writes: Iterable[Write]) -> list[str]:
    lists = [write.inserted for write in writes if write.inserted]
    account = (PROVIDER_ACCOUNT,) if PROVIDER_ACCOUNT in entity.key else ()
    names = (*account, *(column.name for column in entity.stored_columns), *_KEPT)
    return [name for name in names if any(name not in inserted for inserted in lists)]


def _not_assigned(entity: Entity, writes: Iterable[Write]) -> list[str]:
    """Return the forgotten columns of updates; those of several updates together are enough."""
    lists = [write.assigned for write in writes if write.assigned is not None]
    names = (*(column.name for column in entity.stored_columns if column.name not in entity.key), *_KEPT)
    return [name for name in names if lists and not any(name in assigned for assigned in lists)]
