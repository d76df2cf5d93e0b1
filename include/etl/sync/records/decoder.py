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

from etl.declare.entity import Column, ColumnType, Entity, RawOf
from etl.json_text import DECODE_ERRORS, repair_unicode


@dataclass(frozen=True)
class RecordFault:
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


class LocatedRecord(NamedTuple):
    """A record and its place in the page.

    Parameters
    ----------
    path
        Such as `added[3]`.
    records
        The record as a struct, then the one whose list holds it, and so on up; see `column_values`.
    """

    path: str
    records: tuple[msgspec.Struct, ...]


@dataclass
class Records:
    """Records that fit, in columns: as many values in each as there are records.

    Parameters
    ----------
    paths
        Places, such as `added[3]`.
    levels
        The records as structs, then those whose lists hold them, and so on up; see `column_values`.
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

    def extend_located(self, located_records: Iterable[LocatedRecord]) -> None:
        """Append records one by one."""
        if each := list(located_records):
            paths, records = zip(*each, strict=True)
            self.extend(paths, list(zip(*records, strict=True)))


@dataclass
class DecodedPage:
    """What a page holds, in the order in which it applies.

    Parameters
    ----------
    upserts, deletes
        Records that fit.
    faults
        Those that do not.
    """

    upserts: Records = field(default_factory=Records)
    deletes: Records = field(default_factory=Records)
    faults: list[RecordFault] = field(default_factory=list)


_MSGSPEC_TYPES: dict[ColumnType, Any] = {
    ColumnType.TEXT: str,
    ColumnType.MONEY: Decimal,
    ColumnType.DATE: date,
    ColumnType.INSTANT: Annotated[datetime, msgspec.Meta(tz=True)],
    ColumnType.BOOLEAN: bool,
    ColumnType.INTEGER: int,
}

FieldValues: TypeAlias = Mapping[str, Sequence[Any]]
"""Field → what it holds in each of some records."""

_ERROR_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")


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
        self._upsert_decoders = [_RecordListDecoder(place, entity.columns, having=having) for place in upserts]
        self._delete_decoders = [_RecordListDecoder(place, entity.key_columns) for place in removals]
        self._page_decoder = _combined_decoder([*self._upsert_decoders, *self._delete_decoders])

    def decode(self, body: bytes) -> DecodedPage:
        """Take a page apart; what does not fit becomes a fault, and what is no Unicode is repaired."""
        page = self._decode(body)
        return self._decode(repair_unicode(body)) if page.faults else page

    def _decode(self, body: bytes) -> DecodedPage:
        page = DecodedPage()
        whole = self._decode_at_once(body)
        for kind, found in ((self._upsert_decoders, page.upserts), (self._delete_decoders, page.deletes)):
            for records in kind:
                if whole is None:
                    records.decode(body, found, page.faults)
                else:
                    records.extract(whole, found)
        return page

    def _decode_at_once(self, body: bytes) -> msgspec.Struct | None:
        """Decode all places of a page at once; None if one of its records does not fit, or two places share a list."""
        try:
            return None if self._page_decoder is None else self._page_decoder.decode(body)
        except DECODE_ERRORS:
            return None


class _RecordListDecoder:
    """Decodes the records at one place of a page: those of a list, or of the lists within the records of a list."""

    def __init__(self, list_path: str, columns: Sequence[Column], *, having: str | None = None) -> None:
        self._list_names = [name.removesuffix("[]") for name in list_path.split(".")]
        self._having = having
        self._path_cache: list[str] = []
        self._record_decoders: list[msgspec.json.Decoder[Any]] = []
        record: Any = None
        for level, below in enumerate([None, *self._list_names[:0:-1]]):
            own = _struct_fields(
                [(column.path_parts, column) for column in columns if column.levels_up == level], having=having
            )
            self._record_decoders.insert(0, msgspec.json.Decoder(_define_struct("Record", own, below, msgspec.Raw)))
            record = _define_struct("Record", own, below, record)
        self.field = (self._list_names[0], list[record])
        self._page_decoder = msgspec.json.Decoder(_page_type([self.field]))
        self._undecoded_page_decoder = msgspec.json.Decoder(_page_type([(self._list_names[0], list[msgspec.Raw])]))

    def decode(self, body: bytes, records: Records, faults: list[RecordFault]) -> None:
        """Add the records of a page that fit, and keep the faults of the others."""
        try:
            page = self._page_decoder.decode(body)
        except DECODE_ERRORS:
            records.extend_located(self._filter_having(self._decode_each(body, faults)))
        else:
            self.extract(page, records)

    def extract(self, page: msgspec.Struct, target: Records) -> None:
        """Add the records of a decoded page."""
        if len(self._list_names) == 1 and self._having is None:
            records = getattr(page, self._list_names[0]) or ()
            target.extend(self._paths(len(records)), [records])
        else:
            target.extend_located(self._filter_having(self._walk(page, "", ())))

    def _paths(self, count: int) -> list[str]:
        """Return the places of the first records of a page's list, which are the same on every page."""
        known = self._path_cache
        known += [f"{self._list_names[0]}[{ordinal}]" for ordinal in range(len(known), count)]
        return known[:count]

    def _filter_having(self, located_records: Iterable[LocatedRecord]) -> Iterable[LocatedRecord]:
        if self._having is None:
            return located_records
        return (located for located in located_records if getattr(located.records[0], self._having) is not None)

    def _walk(
        self, parent: msgspec.Struct, path: str, ancestors: tuple[msgspec.Struct, ...]
    ) -> Iterable[LocatedRecord]:
        name = self._list_names[len(ancestors)]
        records = getattr(parent, name) or ()
        if len(ancestors) + 1 == len(self._list_names):
            return [
                LocatedRecord(f"{path}{name}[{place}]", (record, *ancestors)) for place, record in enumerate(records)
            ]
        return chain.from_iterable(
            self._walk(record, f"{path}{name}[{place}].", (record, *ancestors)) for place, record in enumerate(records)
        )

    def _decode_each(self, body: bytes, faults: list[RecordFault]) -> Iterator[LocatedRecord]:
        try:
            page = self._undecoded_page_decoder.decode(body)
        except DECODE_ERRORS as error:
            faults.append(_record_fault("", error))
            return
        yield from self._walk_decoding_each(page, "", (), faults)

    def _walk_decoding_each(
        self, parent: msgspec.Struct, path: str, ancestors: tuple[msgspec.Struct, ...], faults: list[RecordFault]
    ) -> Iterator[LocatedRecord]:
        """Walk as `_walk` does, but decode each record by itself."""
        depth = len(ancestors)
        name = self._list_names[depth]
        for ordinal, raw in enumerate(getattr(parent, name) or ()):
            place = f"{path}{name}[{ordinal}]"
            try:
                record = self._record_decoders[depth].decode(raw)
            except DECODE_ERRORS as error:
                faults.append(_record_fault(place, error))
                continue
            if depth + 1 == len(self._list_names):
                yield LocatedRecord(place, (record, *ancestors))
            else:
                yield from self._walk_decoding_each(record, f"{place}.", (record, *ancestors), faults)


def values_by_field(records: Sequence[msgspec.Struct]) -> FieldValues:
    """Return what each field of some records holds; they are of one type, and at least one."""
    return dict(zip(records[0].__struct_fields__, zip(*map(astuple, records), strict=True), strict=True))


def column_values(column: Column, fields: FieldValues) -> Sequence[Any]:
    """Return what a column holds in each record of its level; None where an object on the way is absent."""
    head, *below = column.path_parts
    found = fields[head]
    for name in below:
        get = attrgetter(name)
        found = [None if each is None else get(each) for each in found]
    return found


def _struct_fields(paths: Sequence[tuple[tuple[str, ...], Column]], *, having: str | None = None) -> list[Any]:
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
    return _define_struct(name, _struct_fields(paths)) if path else _MSGSPEC_TYPES[column.kind]


def _define_struct(
    name: str,
    fields: list[Any],
    child_field: str | None = None,
    child_type: Any = None,  # noqa: ANN401 - a type that is only known here
) -> type[msgspec.Struct]:
    """Return a struct, if `child_field` is given with a list of `child_type` of that name."""
    inner: Any = [] if child_field is None else [(child_field, list[child_type] | None, None)]
    return msgspec.defstruct(name, [*fields, *inner], kw_only=True, frozen=True, gc=False)


def _combined_decoder(places: Sequence[_RecordListDecoder]) -> msgspec.json.Decoder[Any] | None:
    """Return a decoder of all places of a page at once; None where two of them are in one list."""
    fields = dict(place.field for place in places)
    return msgspec.json.Decoder(_page_type(list(fields.items()))) if len(fields) == len(places) else None


def _page_type(fields: list[tuple[str, Any]]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Page", fields, gc=False)


def _record_fault(path: str, error: Exception) -> RecordFault:
    text = str(error)
    found = _ERROR_PATH.search(text)
    place = path + (found["path"] if found else "")
    return RecordFault(place.lstrip(".") or "$", "type", _ERROR_PATH.sub("", text))
