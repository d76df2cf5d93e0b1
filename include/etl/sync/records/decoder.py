"""Decoding of pages into records, by a decoder that is generated from the declared columns.

A page whose records are all valid is decoded in one call. Only if that fails is each record decoded by itself, so that
the invalid ones are found and the others are kept.
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
        Path of the record or field in the page, such as `added[3].amount`.
    rule
        Rule that it broke.
    reason
        What was expected and what was found.
    """

    path: str
    rule: str
    reason: str


class LocatedRecord(NamedTuple):
    """A record and its path in the page.

    Parameters
    ----------
    path
        Such as `added[3]`.
    records
        The record as a struct, then the record whose list contains it, and so on upwards; see `column_values`.
    """

    path: str
    records: tuple[msgspec.Struct, ...]


@dataclass
class Records:
    """Valid records, in parallel lists: each list has one item per record.

    Parameters
    ----------
    paths
        Paths in the page, such as `added[3]`.
    levels
        The records as structs, then the records whose lists contain them, and so on upwards; see `column_values`.
    """

    paths: list[str] = field(default_factory=list)
    levels: list[list[msgspec.Struct]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.paths)

    def extend(self, paths: Sequence[str], levels: Sequence[Sequence[msgspec.Struct]]) -> None:
        """Append records, given as parallel lists."""
        if not paths:
            return
        self.paths.extend(paths)
        self.levels = self.levels or [[] for _ in levels]
        for level, new_records in zip(self.levels, levels, strict=True):
            level.extend(new_records)

    def extend_located(self, located_records: Iterable[LocatedRecord]) -> None:
        """Append records one by one."""
        if located := list(located_records):
            paths, records = zip(*located, strict=True)
            self.extend(paths, list(zip(*records, strict=True)))


@dataclass
class DecodedPage:
    """The records of a page; upserts apply before deletes.

    Parameters
    ----------
    upserts, deletes
        Valid records.
    faults
        Faults of the invalid records.
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
"""Field → its value in each record."""

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
        self._upsert_decoders = [_RecordListDecoder(path, entity.columns, having=having) for path in upserts]
        self._delete_decoders = [_RecordListDecoder(path, entity.key_columns) for path in removals]
        self._page_decoder = _combined_decoder([*self._upsert_decoders, *self._delete_decoders])

    def decode(self, body: bytes) -> DecodedPage:
        """Return the records of a page; an invalid record becomes a fault, and text that is not Unicode is repaired."""
        page = self._decode(body)
        return self._decode(repair_unicode(body)) if page.faults else page

    def _decode(self, body: bytes) -> DecodedPage:
        decoded = DecodedPage()
        page = self._decode_at_once(body)
        for decoders, records in ((self._upsert_decoders, decoded.upserts), (self._delete_decoders, decoded.deletes)):
            for decoder in decoders:
                if page is None:
                    decoder.decode(body, records, decoded.faults)
                else:
                    decoder.extract(page, records)
        return decoded

    def _decode_at_once(self, body: bytes) -> msgspec.Struct | None:
        """Return a page with all its lists decoded; None if a record is invalid, or two record paths share a list."""
        try:
            return None if self._page_decoder is None else self._page_decoder.decode(body)
        except DECODE_ERRORS:
            return None


class _RecordListDecoder:
    """Decodes the records at one path of a page: those of a list, or of the lists nested in the records of a list."""

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
        """Append the valid records of a page to `records`, and the faults of the others to `faults`."""
        try:
            page = self._page_decoder.decode(body)
        except DECODE_ERRORS:
            records.extend_located(self._filter_having(self._decode_each(body, faults)))
        else:
            self.extract(page, records)

    def extract(self, page: msgspec.Struct, target: Records) -> None:
        """Append the records of a decoded page to `target`."""
        if len(self._list_names) == 1 and self._having is None:
            records = getattr(page, self._list_names[0]) or ()
            target.extend(self._paths(len(records)), [records])
        else:
            target.extend_located(self._filter_having(self._walk(page, "", ())))

    def _paths(self, count: int) -> list[str]:
        """Return the paths of the first `count` records of a page's list; cached, as all pages have the same."""
        cache = self._path_cache
        cache += [f"{self._list_names[0]}[{ordinal}]" for ordinal in range(len(cache), count)]
        return cache[:count]

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
                LocatedRecord(f"{path}{name}[{ordinal}]", (record, *ancestors))
                for ordinal, record in enumerate(records)
            ]
        return chain.from_iterable(
            self._walk(record, f"{path}{name}[{ordinal}].", (record, *ancestors))
            for ordinal, record in enumerate(records)
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
        """Yield records as `_walk` does, but decode each by itself."""
        depth = len(ancestors)
        name = self._list_names[depth]
        for ordinal, raw in enumerate(getattr(parent, name) or ()):
            record_path = f"{path}{name}[{ordinal}]"
            try:
                record = self._record_decoders[depth].decode(raw)
            except DECODE_ERRORS as error:
                faults.append(_record_fault(record_path, error))
                continue
            if depth + 1 == len(self._list_names):
                yield LocatedRecord(record_path, (record, *ancestors))
            else:
                yield from self._walk_decoding_each(record, f"{record_path}.", (record, *ancestors), faults)


def values_by_field(records: Sequence[msgspec.Struct]) -> FieldValues:
    """Return the values of each field; the records are of one type, and there is at least one."""
    return dict(zip(records[0].__struct_fields__, zip(*map(astuple, records), strict=True), strict=True))


def column_values(column: Column, fields: FieldValues) -> Sequence[Any]:
    """Return the value of a column in each record of its level; None where an object on its path is absent."""
    head, *below = column.path_parts
    values = fields[head]
    for name in below:
        get = attrgetter(name)
        values = [None if value is None else get(value) for value in values]
    return values


def _struct_fields(paths: Sequence[tuple[tuple[str, ...], Column]], *, having: str | None = None) -> list[Any]:
    """Return the fields of a struct, nested as the paths are in the record.

    A column that is not required may be absent or null, and so may every object on its path.
    """
    heads = dict.fromkeys(path[0] for path, _ in paths)
    fields: list[Any] = []
    for head in heads:
        below = [(path[1:], column) for path, column in paths if path[0] == head]
        field_type = _field_type(head, below)
        required = head != having and any(column.required for _, column in below)
        fields.append((head, field_type) if required else (head, field_type | None, None))
    return fields


def _field_type(name: str, paths: Sequence[tuple[tuple[str, ...], Column]]) -> Any:  # noqa: ANN401 - types are values
    """Return the type of a field; its columns agree on it, as `Entity` refuses columns with conflicting types."""
    path, column = paths[0]
    return _define_struct(name, _struct_fields(paths)) if path else _MSGSPEC_TYPES[column.kind]


def _define_struct(
    name: str,
    fields: list[Any],
    child_field: str | None = None,
    child_type: Any = None,  # noqa: ANN401 - types are values
) -> type[msgspec.Struct]:
    """Return a struct type with the fields and, if `child_field` is given, a list of `child_type` of that name."""
    child: Any = [] if child_field is None else [(child_field, list[child_type] | None, None)]
    return msgspec.defstruct(name, [*fields, *child], kw_only=True, frozen=True, gc=False)


def _combined_decoder(decoders: Sequence[_RecordListDecoder]) -> msgspec.json.Decoder[Any] | None:
    """Return a decoder of all lists of a page at once; None if two of the decoders read the same list."""
    fields = dict(decoder.field for decoder in decoders)
    return msgspec.json.Decoder(_page_type(list(fields.items()))) if len(fields) == len(decoders) else None


def _page_type(fields: list[tuple[str, Any]]) -> type[msgspec.Struct]:
    return msgspec.defstruct("Page", fields, gc=False)


def _record_fault(path: str, error: Exception) -> RecordFault:
    text = str(error)
    match = _ERROR_PATH.search(text)
    fault_path = path + (match["path"] if match else "")
    return RecordFault(fault_path.lstrip(".") or "$", "type", _ERROR_PATH.sub("", text))
