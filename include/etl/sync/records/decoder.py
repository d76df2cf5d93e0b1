"""Records: a page, as sent, taken apart by a decoder that is generated from the declared columns.

A page whose records all fit is decoded in one go. Only where that fails is each record decoded by itself, so that the
one that does not fit is found and its siblings go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import astuple

from etl.declare.entity import Column, Entity, Kind, RawOf
from etl.json_text import UNDECODABLE, repaired


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


class Located(NamedTuple):
    """A record and its place in the page.

    Parameters
    ----------
    path
        Such as `added[3]`.
    records
        The record as a struct, then the one whose list holds it, and so on up; see `values`.
    """

    path: str
    records: tuple[msgspec.Struct, ...]


@dataclass
class Found:
    """Records that fit, in columns: as many values in each as there are records.

    Parameters
    ----------
    paths
        Places, such as `added[3]`.
    levels
        The records as structs, then those whose lists hold them, and so on up; see `values`.
    """

    paths: list[str] = field(default_factory=list)
    levels: list[list[msgspec.Struct]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.paths)

    def extend(self, paths: Sequence[str], levels: Sequence[Sequence[msgspec.Struct]]) -> None:
        """Append records in columns."""
        if not paths:
            return
        self.paths.extend(paths)
        self.levels = self.levels or [[] for _ in levels]
        for mine, more in zip(self.levels, levels, strict=True):
            mine.extend(more)

    def extend_each(self, located: Iterable[Located]) -> None:
        """Append records one by one."""
        if each := list(located):
            paths, records = zip(*each, strict=True)
            self.extend(paths, list(zip(*records, strict=True)))


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

    upserts: Found = field(default_factory=Found)
    deletes: Found = field(default_factory=Found)
    faults: list[Fault] = field(default_factory=list)


_TYPES: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.MONEY: Decimal,
    Kind.DATE: date,
    Kind.INSTANT: Annotated[datetime, msgspec.Meta(tz=True)],
    Kind.BOOLEAN: bool,
    Kind.INTEGER: int,
}

Fields: TypeAlias = Mapping[str, Sequence[Any]]
"""Field → what it holds in each of some records."""

_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")


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
        self._page = _page_of([*self._upserts, *self._deletes])

    def decode(self, body: bytes) -> Page:
        """Take a page apart; what does not fit becomes a fault, and what is no Unicode is repaired."""
        page = self._decode(body)
        return self._decode(repaired(body)) if page.faults else page

    def _decode(self, body: bytes) -> Page:
        page = Page()
        whole = self._whole(body)
        for kind, found in ((self._upserts, page.upserts), (self._deletes, page.deletes)):
            for records in kind:
                if whole is None:
                    records.of(body, found, page.faults)
                else:
                    records.within(whole, found)
        return page

    def _whole(self, body: bytes) -> msgspec.Struct | None:
        """Decode all places of a page at once; None if one of its records does not fit, or two places share a list."""
        try:
            return None if self._page is None else self._page.decode(body)
        except UNDECODABLE:
            return None


class _Records:
    """Decodes the records at one place of a page: those of a list, or of the lists within the records of a list."""

    def __init__(self, place: str, columns: Sequence[Column], *, having: str | None = None) -> None:
        self._lists = [name.removesuffix("[]") for name in place.split(".")]
        self._having = having
        self._known_places: list[str] = []
        self._singles: list[msgspec.json.Decoder[Any]] = []
        record: Any = None
        for level, below in enumerate([None, *self._lists[:0:-1]]):
            own = _fields([(column.fields, column) for column in columns if column.level == level], having=having)
            self._singles.insert(0, msgspec.json.Decoder(_struct("Record", own, below, msgspec.Raw)))
            record = _struct("Record", own, below, record)
        self.field = (self._lists[0], list[record])
        self._page = msgspec.json.Decoder(_page_type([self.field]))
        self._untyped = msgspec.json.Decoder(_page_type([(self._lists[0], list[msgspec.Raw])]))

    def of(self, body: bytes, found: Found, faults: list[Fault]) -> None:
        """Add the records of a page that fit, and keep the faults of the others."""
        try:
            page = self._page.decode(body)
        except UNDECODABLE:
            found.extend_each(self._having_it(self._one_by_one(body, faults)))
        else:
            self.within(page, found)

    def within(self, page: msgspec.Struct, found: Found) -> None:
        """Add the records of a decoded page."""
        if len(self._lists) == 1 and self._having is None:
            records = getattr(page, self._lists[0]) or ()
            found.extend(self._places(len(records)), [records])
        else:
            found.extend_each(self._having_it(self._walk(page, "", ())))

    def _places(self, count: int) -> list[str]:
        """Return the places of the first records of a page's list, which are the same on every page."""
        known = self._known_places
        known += [f"{self._lists[0]}[{ordinal}]" for ordinal in range(len(known), count)]
        return known[:count]

    def _having_it(self, found: Iterable[Located]) -> Iterable[Located]:
        if self._having is None:
            return found
        return (located for located in found if getattr(located.records[0], self._having) is not None)

    def _walk(self, holder: msgspec.Struct, path: str, above: tuple[msgspec.Struct, ...]) -> Iterable[Located]:
        name = self._lists[len(above)]
        records = getattr(holder, name) or ()
        if len(above) + 1 == len(self._lists):
            return [Located(f"{path}{name}[{place}]", (record, *above)) for place, record in enumerate(records)]
        return chain.from_iterable(
            self._walk(record, f"{path}{name}[{place}].", (record, *above)) for place, record in enumerate(records)
        )

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


def by_field(records: Sequence[msgspec.Struct]) -> Fields:
    """Return what each field of some records holds; they are of one type, and at least one."""
    return dict(zip(records[0].__struct_fields__, zip(*map(astuple, records), strict=True), strict=True))


def values(column: Column, fields: Fields) -> Sequence[Any]:
    """Return what a column holds in each record of its level; None where an object on the way is absent."""
    head, *below = column.fields
    found = fields[head]
    for name in below:
        get = attrgetter(name)
        found = [None if each is None else get(each) for each in found]
    return found


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


def _page_of(places: Sequence[_Records]) -> msgspec.json.Decoder[Any] | None:
    """Return a decoder of all places of a page at once; None where two of them are in one list."""
    fields = dict(place.field for place in places)
    return msgspec.json.Decoder(_page_type(list(fields.items()))) if len(fields) == len(places) else None


def _page_type(fields: list[tuple[str, Any]]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Page", fields, gc=False)


def _fault(path: str, error: Exception) -> Fault:
    text = str(error)
    found = _PATH.search(text)
    place = path + (found["path"] if found else "")
    return Fault(place.lstrip(".") or "$", "type", _PATH.sub("", text))
