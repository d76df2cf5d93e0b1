"""Where a declaration finds things in a page, and pages and errors that are written by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from etl.declare.column import Column, ColumnType
from etl.declare.entity import Entity
from etl.declare.provider import ErrorAction, ErrorRule, Provider
from etl.declare.source import Source
from etl.sync.provider.failures import texts_at, values_at

OTHER_TEXT = "conform"
"""A text that replaces another one, where a record is changed."""

_BAD_REQUEST = 400
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return a document with exact numbers.

    Raises
    ------
    ValueError
        If it is not JSON.
    """
    return json.loads(body, parse_float=Decimal)


def encode(document: object) -> bytes:
    """Return a document as JSON."""
    return _ENCODER.encode(document)


def set_value(document: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a dotted path; what leads there is created, and `[]` is a list of one item."""
    name, _, rest = path.partition(".")
    key = name.removesuffix("[]")
    if name.endswith("[]"):
        item: Any = value
        if rest:
            item = {}
            set_value(item, rest, value)
        document[key] = [item]
    elif rest:
        inner = document.setdefault(key, {})
        set_value(inner, rest, value)
    else:
        document[key] = value


def text_at(document: object, path: str) -> str:
    """Return the first text or number at a path, as text; empty if there is none."""
    return next(iter(texts_at(document, path)), "")


def lists_at(document: object, path: str) -> list[list[Any]]:
    """Return the lists of a page that a path of records means, such as both of `accounts[].transactions[]`.

    The only record at `account{}` is in a list of its own, which is not that of the page.
    """
    if path.endswith("{}"):
        return [[each] for each in values_at(document, path.removesuffix("{}")) if isinstance(each, dict)]
    return [each for each in values_at(document, path.removesuffix("[]")) if isinstance(each, list)]


def records_of(source: Source, document: object) -> Iterator[tuple[list[Any], int]]:
    """Yield each record to insert or update, as its list and its index there."""
    for path in source.upserts:
        for records in lists_at(document, path):
            yield from ((records, index) for index in range(len(records)))


def empty_lists(source: Source, document: object) -> None:
    """Remove all records from a page; of lists within others, the outer ones stay."""
    for path in (*source.upserts, *source.removals):
        for records in lists_at(document, path):
            records.clear()


def plain_key(entity: Entity, record: object) -> tuple[object, ...] | None:
    """Return the values of the key that a record itself has; None if it is derived from something else."""
    columns = [column for column in entity.key_columns if column.fill is None]
    if not columns or any(column.levels_up or column.identity is not None for column in columns):
        return None
    values = [read_field(record, column) for column in columns]
    return None if any(isinstance(value, list | dict | None) for value in values) else tuple(values)


def read_field(record: object, column: Column) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of the field of a column; None if the record has none."""
    value = record
    for name in column.path_parts:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def write_field(record: dict[str, Any], column: Column, value: object) -> None:
    """Set the field of a column."""
    set_value(record, ".".join(column.path_parts), value)


def drop_field(record: dict[str, Any], column: Column) -> None:
    """Remove the field of a column."""
    *outer, name = column.path_parts
    holder: Any = record
    for step in outer:
        holder = holder[step]
    del holder[name]


def removal_of(entity: Entity, record: dict[str, Any]) -> dict[str, Any]:
    """Return what a feed sends to remove a record: the fields of its key."""
    removal: dict[str, Any] = {}
    for column in entity.key_columns:
        if column.fill is None:
            write_field(removal, column, read_field(record, column))
    return removal


def own_columns(entity: Entity) -> list[Column]:
    """Return the columns that are read from a field of the record itself."""
    return [column for column in entity.columns if column.fill is None and not column.levels_up]


def free_text(entity: Entity, record: object) -> Column | None:
    """Return a column whose text may change without any other consequence; None if the record has none."""
    needed = {
        *entity.key,
        *entity.currencies,
        entity.replaces,
        *(name for each in entity.checks for name in each.columns),
    }
    needed |= {name for column in entity.columns for name in (*column.uses, column.name if column.uses else "")}
    for column in own_columns(entity):
        is_plain = column.kind is ColumnType.TEXT and column.stored and not column.is_converted
        if is_plain and column.name not in needed and isinstance(read_field(record, column), str):
            return column
    return None


def error_answer(provider: Provider, action: ErrorAction) -> tuple[int, bytes] | None:
    """Return status and body of a response that the first error rule with an action matches; None if there is none."""
    return next((answer_of(provider, rule) for rule in provider.errors if rule.action is action), None)


def answer_of(provider: Provider, rule: ErrorRule) -> tuple[int, bytes]:
    """Return status and body of a response that an error rule matches."""
    document: dict[str, Any] = {}
    if rule.code is not None:
        set_value(document, rule.field or provider.error_code, rule.code.replace("*", " ").strip())
    return rule.status or _BAD_REQUEST, encode(document)
