"""Records: a page, as sent, taken apart by a decoder that is generated from the declared columns.

A page whose records all fit is decoded in one go. Only where that fails is each record decoded by itself, so that the
one that does not fit is found and its siblings go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from etl.declare.entity import Column, Entity, Kind
from etl.errors import DeclarationError

_TYPES: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.MONEY: Decimal,
    Kind.DATE: date,
    Kind.INSTANT: Annotated[datetime, msgspec.Meta(tz=True)],
    Kind.BOOLEAN: bool,
    Kind.INTEGER: int,
}
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")


@dataclass(frozen=True)
class Fault:
    """Why a record is rejected.

    Parameters
    ----------
    path
        Place of the record or field in the page, such as `added[3].amount`.
    rule
        Rule that it broke.
    reason
        What was expected and found.
    """

    path: str
    rule: str
    reason: str


@dataclass(frozen=True)
class Located:
    """A record and its place in the page.

    Parameters
    ----------
    path
        Such as `added[3]`.
    record
        A struct; see `getters`.
    """

    path: str
    record: msgspec.Struct


@dataclass
class Page:
    """What a page holds, in the order in which it applies.

    Parameters
    ----------
    upserts, deletes
        Records that fit.
    faults
        Those that do not.
    """

    upserts: list[Located] = field(default_factory=list)
    deletes: list[Located] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class PageDecoder:
    """Decodes the pages of an entity's feed.

    Parameters
    ----------
    entity
        Whose columns to decode; fields that it does not declare are skipped.
    """

    def __init__(self, entity: Entity) -> None:
        self._upserts = [_Records(place, entity.columns) for place in entity.feed.upserts]
        self._deletes = [_Records(place, entity.key_columns) for place in entity.feed.deletes]

    def decode(self, body: bytes) -> Page:
        """Take a page apart; what does not fit becomes a fault."""
        page = Page()
        for records in self._upserts:
            page.upserts.extend(records.decode(body, page.faults))
        for records in self._deletes:
            page.deletes.extend(records.decode(body, page.faults))
        return page


class _Records:
    """Decodes the records at one place of a page."""

    def __init__(self, place: str, columns: Sequence[Column]) -> None:
        self._lists = [name.removesuffix("[]") for name in place.split(".")]
        record = record_type(columns)
        self._typed = msgspec.json.Decoder(_page_type(self._lists, record))
        self._untyped = msgspec.json.Decoder(_page_type(self._lists, msgspec.Raw))
        self._single = msgspec.json.Decoder(record)

    def decode(self, body: bytes, faults: list[Fault]) -> Iterator[Located]:
        try:
            page = self._typed.decode(body)
        except msgspec.DecodeError:
            return self._one_by_one(body, faults)
        return (Located(path, record) for path, record in _walk(page, self._lists, ""))

    def _one_by_one(self, body: bytes, faults: list[Fault]) -> Iterator[Located]:
        try:
            page = self._untyped.decode(body)
        except msgspec.DecodeError as error:
            faults.append(_fault("", error))
            return
        for path, raw in _walk(page, self._lists, ""):
            try:
                yield Located(path, self._single.decode(raw))
            except msgspec.DecodeError as error:
                faults.append(_fault(path, error))


def record_type(columns: Sequence[Column]) -> type[msgspec.Struct]:
    """Return a struct with the fields that the columns' paths name, nested as they are in the record.

    A column that is not required may be absent or null, and so may every object on the way to it.
    """
    return _struct("Record", [(column.fields, column) for column in columns])


def getters(columns: Sequence[Column]) -> list[Callable[[msgspec.Struct], Any]]:
    """Return for each column a function that reads its value from a record, or None where an object is absent."""
    return [_getter(column.fields) for column in columns]


def _struct(name: str, paths: Sequence[tuple[tuple[str, ...], Column]]) -> type[msgspec.Struct]:
    heads = dict.fromkeys(path[0] for path, _ in paths)
    fields: list[Any] = []
    for head in heads:
        below = [(path[1:], column) for path, column in paths if path[0] == head]
        kind = _field_type(head, below)
        required = any(column.required for _, column in below)
        fields.append((head, kind) if required else (head, kind | None, None))
    return msgspec.defstruct(name, fields, kw_only=True, frozen=True, gc=False)


def _field_type(name: str, paths: Sequence[tuple[tuple[str, ...], Column]]) -> Any:  # noqa: ANN401 - types are values
    kinds = {column.kind for path, column in paths if not path}
    if not kinds:
        return _struct(name, paths)
    if len(kinds) > 1 or not all(path == () for path, _ in paths):
        columns = ", ".join(column.name for _, column in paths)
        raise DeclarationError(f"columns {columns} read the field {name!r} as different types; mend their paths")
    return _TYPES[kinds.pop()]


def _getter(path: tuple[str, ...]) -> Callable[[msgspec.Struct], Any]:
    if len(path) == 1:
        return attrgetter(path[0])

    def get(record: msgspec.Struct) -> Any:  # noqa: ANN401 - the type is the column's
        value: Any = record
        for name in path:
            if value is None:
                return None
            value = getattr(value, name)
        return value

    return get


def _page_type(lists: Sequence[str], record: Any) -> Any:  # noqa: ANN401 - types are values here
    inner: Any = record if len(lists) == 1 else _page_type(lists[1:], record)
    items: Any = list[inner]
    return msgspec.defstruct("Page", [(lists[0], items)], gc=False)


def _walk(page: Any, lists: Sequence[str], prefix: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - likewise
    name, *deeper = lists
    for ordinal, item in enumerate(getattr(page, name)):
        path = f"{prefix}{name}[{ordinal}]"
        if deeper:
            yield from _walk(item, deeper, f"{path}.")
        else:
            yield path, item


def _fault(path: str, error: msgspec.DecodeError) -> Fault:
    text = str(error)
    found = _PATH.search(text)
    place = path + (found["path"] if found else "")
    return Fault(place.lstrip(".") or "$", "type", _PATH.sub("", text))
