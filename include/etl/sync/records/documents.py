"""Typed reading of some fields of a JSON document, each at a dotted path; all others are skipped, not decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

Path: TypeAlias = tuple[str, ...]
"""Names that lead from a document to a field."""


class Leaf(NamedTuple):
    """A field that is read.

    Parameters
    ----------
    type
        Type of its value.
    is_required
        Whether a document without it, or with null, is invalid.
    """

    type: Any
    is_required: bool = True


ONE_RECORD = "{}"
"""Mark of a path that leads to one record instead of a list: `account{}`."""


def records_leaf(path: str, record_type: Any, *, is_required: bool) -> Leaf:  # noqa: ANN401 - types are values
    """Return the field at the path of a list of records, or of a single record."""
    return Leaf(record_type if path.endswith(ONE_RECORD) else list[record_type], is_required)


def records_at(document: msgspec.Struct | None, path: Path) -> Sequence[Any]:
    """Return the records at a path of a document: those of a list, or the one that is there; empty if it is absent."""
    value = value_at(document, path)
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def split_path(path: str) -> Path:
    """Return the names of a dotted path."""
    return tuple(path.split("."))


def attribute(name: str) -> str:
    """Return the attribute that a field has in a struct: its name, unless that is no identifier, as `balance-date`."""
    return name if name.isidentifier() else f"_{name.replace('-', '__')}"


def define_document(leaves: Mapping[Path, Leaf]) -> type[msgspec.Struct]:
    """Return a struct type of nested objects with the given fields.

    An object that holds a required field is required itself.
    """
    fields: list[Any] = []
    names = list(dict.fromkeys(path[0] for path in leaves))
    for name in names:
        below = {path[1:]: leaf for path, leaf in leaves.items() if path[0] == name}
        leaf = (
            below[()] if () in below else Leaf(define_document(below), any(each.is_required for each in below.values()))
        )
        fields.append((attribute(name), leaf.type) if leaf.is_required else (attribute(name), leaf.type | None, None))
    return define_renamed("Document", fields, names)


def define_renamed(struct_name: str, fields: Sequence[Any], names: Sequence[str]) -> type[msgspec.Struct]:
    """Return a struct type whose attributes are read from fields of the given names."""
    renamed = {attribute(name): name for name in names if attribute(name) != name}
    return msgspec.defstruct(struct_name, fields, kw_only=True, frozen=True, gc=False, rename=renamed or None)


def value_at(document: msgspec.Struct | None, path: Path) -> Any:  # noqa: ANN401 - any JSON
    """Return the value at a path of a document; None if it is absent, or an object on the path is."""
    value: Any = document
    for name in path:
        if value is None:
            return None
        value = getattr(value, attribute(name))
    return value
