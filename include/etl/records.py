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
from typing import Annotated, Any

import msgspec

from etl.declare.entity import Column, Entity, Kind, RawOf
from etl.text import repaired

_TYPES: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.MONEY: Decimal,
    Kind.DATE: date,
    Kind.INSTANT: Annotated[datetime, msgspec.Meta(tz=True)],
    Kind.BOOLEAN: bool,
    Kind.INTEGER: int,
}
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for JSON that does not fit, bytes that are no UTF-8, and nesting without end."""

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
    records
        The record as a struct, then the one whose list holds it, and so on up; see `getters`.
    """

    path: str
    records: tuple[msgspec.Struct, ...]


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
    """Decodes the pages of one source for an entity.

    Parameters
    ----------
    entity
        Whose columns to decode; fields that it does not declare are skipped.
    source
        Name of the source that the pages come from.
    """

    def __init__(self, entity: Entity, source: str) -> None:
        upserts, removals = entity.sources[source]
        having = entity.source.having if isinstance(entity.source, RawOf) else None
        self._upserts = [_Records(place, entity.columns, having=having) for place in upserts]
        self._deletes = [_Records(place, entity.key_columns) for place in removals]

    def decode(self, body: bytes) -> Page:
        """Take a page apart; what does not fit becomes a fault, and what is no Unicode is repaired."""
        page = self._decode(body)
        return self._decode(repaired(body)) if page.faults else page

    def _decode(self, body: bytes) -> Page:
        page = Page()
        for records in self._upserts:
            page.upserts.extend(records.decode(body, page.faults))
        for records in self._deletes:
            page.deletes.extend(records.decode(body, page.faults))
        return page


class _Records:
    """Decodes the records at one place of a page: those of a list, or of the lists within the records of a list."""

    def __init__(self, place: str, columns: Sequence[Column], *, having: str | None = None) -> None:
        self._lists = [name.removesuffix("[]") for name in place.split(".")]
        self._having = having
        self._singles: list[msgspec.json.Decoder[Any]] = []
        record: Any = None
        for level, below in enumerate([None, *self._lists[:0:-1]]):
            own = _fields([(column.fields, column) for column in columns if column.level == level], having=having)
            self._singles.insert(0, msgspec.json.Decoder(_struct("Record", own, below, msgspec.Raw)))
            record = _struct("Record", own, below, record)
        self._page = msgspec.json.Decoder(_page_type(self._lists[0], record))
        self._untyped = msgspec.json.Decoder(_page_type(self._lists[0], msgspec.Raw))

    def decode(self, body: bytes, faults: list[Fault]) -> Iterator[Located]:
        try:
            found = self._walk(self._page.decode(body), "", ())
        except UNDECODABLE:
            found = self._one_by_one(body, faults)
        if self._having is None:
            return found
        return (located for located in found if getattr(located.records[0], self._having) is not None)

    def _walk(self, holder: msgspec.Struct, path: str, above: tuple[msgspec.Struct, ...]) -> Iterator[Located]:
        name = self._lists[len(above)]
        for ordinal, record in enumerate(getattr(holder, name) or ()):
            place = f"{path}{name}[{ordinal}]"
            if len(above) + 1 == len(self._lists):
                yield Located(place, (record, *above))
            else:
                yield from self._walk(record, f"{place}.", (record, *above))

    def _one_by_one(self, body: bytes, faults: list[Fault]) -> Iterator[Located]:
        try:
            page = self._untyped.decode(body)
        except UNDECODABLE as error:
            faults.append(_fault("", error))
            return
        yield from self._search(page, "", (), faults)

    def _search(
        self, holder: msgspec.Struct, path: str, above: tuple[msgspec.Struct, ...], faults: list[Fault]
    ) -> Iterator[Located]:
        """Walk as `_walk` does, but decode each record by itself."""
        depth = len(above)
        name = self._lists[depth]
        for ordinal, raw in enumerate(getattr(holder, name) or ()):
            place = f"{path}{name}[{ordinal}]"
            try:
                record = self._singles[depth].decode(raw)
            except UNDECODABLE as error:
                faults.append(_fault(place, error))
                continue
            if depth + 1 == len(self._lists):
                yield Located(place, (record, *above))
            else:
                yield from self._search(record, f"{place}.", (record, *above), faults)


def getters(columns: Sequence[Column]) -> list[Callable[[tuple[msgspec.Struct, ...]], Any]]:
    """Return for each column a function that reads its value from a located record and those above it.

    It returns None where an object on the way is absent.
    """
    return [_getter(column.level, column.fields) for column in columns]


def _getter(level: int, path: tuple[str, ...]) -> Callable[[tuple[msgspec.Struct, ...]], Any]:
    def get(records: tuple[msgspec.Struct, ...]) -> Any:  # noqa: ANN401 - the type is the column's
        value: Any = records[level]
        for name in path:
            if value is None:
                return None
            value = getattr(value, name)
        return value

    return get


def _fields(paths: Sequence[tuple[tuple[str, ...], Column]], *, having: str | None = None) -> list[Any]:
    """Return the fields of a struct, nested as the paths are in the record.

    A column that is not required may be absent or null, and so may every object on the way to it.
    """
    heads = dict.fromkeys(path[0] for path, _ in paths)
    fields: list[Any] = []
    for head in heads:
        below = [(path[1:], column) for path, column in paths if path[0] == head]
        kind = _field_type(head, below)
        required = head != having and any(column.required for _, column in below)
        fields.append((head, kind) if required else (head, kind | None, None))
    return fields


def _field_type(name: str, paths: Sequence[tuple[tuple[str, ...], Column]]) -> Any:  # noqa: ANN401 - types are values
    """Return the type of a field; an entity whose columns read it as different types cannot be declared."""
    path, column = paths[0]
    return _struct(name, _fields(paths)) if path else _TYPES[column.kind]


def _struct(name: str, fields: list[Any], below: str | None = None, items: Any = None) -> type[msgspec.Struct]:  # noqa: ANN401
    """Return a struct, if `below` is given with a list of `items` of that name."""
    inner: Any = [] if below is None else [(below, list[items] | None, None)]
    return msgspec.defstruct(name, [*fields, *inner], kw_only=True, frozen=True, gc=False)


def _page_type(name: str, items: Any) -> type[msgspec.Struct]:  # noqa: ANN401 - types are values
    return msgspec.defstruct("Page", [(name, list[items])], gc=False)


def _fault(path: str, error: Exception) -> Fault:
    text = str(error)
    found = _PATH.search(text)
    place = path + (found["path"] if found else "")
    return Fault(place.lstrip(".") or "$", "type", _PATH.sub("", text))
