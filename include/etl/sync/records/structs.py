"""Struct types that are generated from declared columns, and the values of columns in such structs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec.structs import astuple

from etl.declare.column import SentAs
from etl.declare.entity import Column, Entity
from etl.sync.records.documents import attribute, define_renamed

MSGSPEC_TYPES: dict[SentAs, Any] = {
    SentAs.TEXT: str,
    SentAs.DECIMAL: Decimal,
    SentAs.DATE: date,
    SentAs.INSTANT: Annotated[datetime, msgspec.Meta(tz=True)],
    SentAs.LOCAL_TIME: Annotated[datetime, msgspec.Meta(tz=False)],
    SentAs.BOOLEAN: bool,
    SentAs.INTEGER: int,
}

FieldValues: TypeAlias = Mapping[str, Sequence[Any]]
"""Field → its value in each record."""


@dataclass(frozen=True)
class RecordField:
    """A field of a record that declared columns read.

    Parameters
    ----------
    name
        Its name in the record.
    type
        Type of its value; None is allowed if it is not required.
    is_required
        Whether a record must have it: whether a column that reads it is required.
    may_drop
        Whether a bad value costs only the field, not the record; see `Entity.may_drop`.
    below
        Fields of the object that it holds; empty if it holds a value.
    """

    name: str
    type: Any = field(repr=False)
    is_required: bool
    may_drop: bool
    below: tuple[RecordField, ...] = ()

    @property
    def nullable_type(self) -> Any:  # noqa: ANN401 - types are values
        """Type of its value, or of null if it is not required."""
        return self.type if self.is_required else self.type | None


def record_fields(
    entity: Entity, paths: Sequence[tuple[tuple[str, ...], Column]], *, having: str | None = None
) -> tuple[RecordField, ...]:
    """Return the fields that columns read, nested as their paths are in the record.

    Parameters
    ----------
    paths
        Path within the record → column; the columns agree on types, as `Entity` refuses those that conflict.
    having
        Field that may be absent although its column is required.
    """
    fields = []
    for name in dict.fromkeys(path[0] for path, _ in paths):
        reading = [(path[1:], column) for path, column in paths if path[0] == name]
        path, column = reading[0]
        below = record_fields(entity, reading) if path else ()
        fields.append(
            RecordField(
                name,
                define_struct(name, below) if path else MSGSPEC_TYPES[column.sent_as],
                is_required=name != having and any(column.must_be_sent for _, column in reading),
                may_drop=all(entity.may_drop(column) for _, column in reading),
                below=below,
            )
        )
    return tuple(fields)


def define_struct(
    name: str,
    fields: Sequence[RecordField],
    child_field: str | None = None,
    child_type: Any = None,  # noqa: ANN401 - types are values
) -> type[msgspec.Struct]:
    """Return a struct type with the fields and, if `child_field` is given, a list of `child_type` of that name.

    A field that is not required may be absent or null, and so may the list.
    """
    definitions: list[Any] = [
        (attribute(each.name), each.type) if each.is_required else (attribute(each.name), each.nullable_type, None)
        for each in fields
    ]
    child: list[Any] = [] if child_field is None else [(attribute(child_field), list[child_type] | None, None)]
    names = [*(each.name for each in fields), *([] if child_field is None else [child_field])]
    return define_renamed(name, [*definitions, *child], names)


def values_by_field(records: Sequence[msgspec.Struct]) -> FieldValues:
    """Return the values of each field, by its attribute; the records are of one type, and there is at least one."""
    return dict(zip(records[0].__struct_fields__, zip(*map(astuple, records), strict=True), strict=True))


def column_values(column: Column, fields: FieldValues) -> Sequence[Any]:
    """Return the value of a column in each record of its level; None where an object on its path is absent."""
    head, *below = map(attribute, column.path_parts)
    values = fields[head]
    for name in below:
        get = attrgetter(name)
        values = [None if value is None else get(value) for value in values]
    return values
