"""Decoding of pages into records, by a decoder that is generated from the declared columns.

A page whose records are all valid is decoded in one call. Only if that fails is each record decoded by itself, and an
invalid one field by field, so that bad fields are found and everything else is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import msgspec

from etl.declare.entity import Column, Entity, RawOf
from etl.json_text import DECODE_ERRORS, repair
from etl.sync.records.documents import (
    ONE_RECORD,
    attribute,
    define_document,
    records_at,
    records_leaf,
    split_path,
)
from etl.sync.records.faults import FieldWarning, RecordFault
from etl.sync.records.identity import IdentityReader, RecordIdentity
from etl.sync.records.lenient import InvalidRecord, LenientDecoder, has_member, to_fault
from etl.sync.records.structs import define_struct, record_fields

_Reject: TypeAlias = Callable[[RecordFault, bytes, Sequence[msgspec.Struct]], None]
"""Called with a fault, a record as sent, and the records above it, of the innermost on."""


@dataclass(frozen=True)
class RejectedRecord:
    """A record that is rejected.

    Parameters
    ----------
    fault
        Its path in the page, and why it is rejected.
    identity
        What it is.
    """

    fault: RecordFault
    identity: RecordIdentity


class LocatedRecord(NamedTuple):
    """A record and its path in the page.

    Parameters
    ----------
    path
        Such as `added[3]`.
    records
        The record as a struct, then the record whose list contains it, and so on upwards; see `column_values`.
    warnings
        Bad fields of all these, which are null in the structs.
    """

    path: str
    records: tuple[msgspec.Struct, ...]
    warnings: tuple[FieldWarning, ...] = ()


@dataclass
class Records:
    """Valid records, in parallel lists: each list has one item per record.

    Parameters
    ----------
    paths
        Paths in the page, such as `added[3]`.
    levels
        The records as structs, then the records whose lists contain them, and so on upwards; see `column_values`.
    lists
        Path of the list of the first records, with their number, then of the next ones, and so on.
    warnings
        Index of a record → its bad fields; the other records have none.
    """

    paths: list[str] = field(default_factory=list)
    levels: list[list[msgspec.Struct]] = field(default_factory=list)
    lists: list[tuple[str, int]] = field(default_factory=list)
    warnings: dict[int, tuple[FieldWarning, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.paths)

    def extend(self, list_path: str, paths: Sequence[str], levels: Sequence[Sequence[msgspec.Struct]]) -> None:
        """Append records of a list, given as parallel lists."""
        if not paths:
            return
        self.paths.extend(paths)
        self.lists.append((list_path, len(paths)))
        self.levels = self.levels or [[] for _ in levels]
        for level, new_records in zip(self.levels, levels, strict=True):
            level.extend(new_records)

    def extend_located(self, list_path: str, located_records: Iterable[LocatedRecord]) -> None:
        """Append records of a list one by one."""
        if located := list(located_records):
            count = len(self)
            self.warnings |= {count + index: each.warnings for index, each in enumerate(located) if each.warnings}
            paths, records, _ = zip(*located, strict=True)
            self.extend(list_path, paths, list(zip(*records, strict=True)))


@dataclass
class DecodedPage:
    """The records of a page; upserts apply before deletes.

    Parameters
    ----------
    upserts, deletes
        Valid records.
    rejected
        The invalid records.
    """

    upserts: Records = field(default_factory=Records)
    deletes: Records = field(default_factory=Records)
    rejected: list[RejectedRecord] = field(default_factory=list)

    @property
    def faults(self) -> list[RecordFault]:
        """Faults of the invalid records."""
        return [rejected.fault for rejected in self.rejected]

    @property
    def is_flawless(self) -> bool:
        """Whether every record is valid in every field."""
        return not (self.rejected or self.upserts.warnings or self.deletes.warnings)


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
        self._upsert_decoders = [_RecordListDecoder(entity, path, entity.columns, having=having) for path in upserts]
        self._delete_decoders = [_RecordListDecoder(entity, path, entity.key_columns) for path in removals]
        self._page_decoder = _combined_decoder([*self._upsert_decoders, *self._delete_decoders])

    def decode(self, body: bytes, *, item_id: str = "") -> DecodedPage:
        """Return the records of a page, which is repaired first if it has bad records; see `repair`.

        A bad field becomes null, with a warning, if the entity may drop it; else its record is rejected.

        Parameters
        ----------
        item_id
            Of the login whose page it is: a key may consist of it.
        """
        page = self._decode(body, item_id)
        if page.is_flawless or (repaired := repair(body)) == body:
            return page
        return self._decode(repaired, item_id)

    def _decode(self, body: bytes, item_id: str) -> DecodedPage:
        decoded = DecodedPage()
        page = self._decode_at_once(body)
        for decoders, records in ((self._upsert_decoders, decoded.upserts), (self._delete_decoders, decoded.deletes)):
            for decoder in decoders:
                if page is None:
                    decoder.decode(body, records, decoded.rejected, item_id)
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
    """Decodes the records at one path of a page: those of a list, of lists nested in its records, or a single one."""

    def __init__(self, entity: Entity, list_path: str, columns: Sequence[Column], *, having: str | None = None) -> None:
        self._list_path = list_path
        outermost, *inner = list_path.removesuffix(ONE_RECORD).removesuffix("[]").split("[].")
        self._page_path = split_path(outermost)
        self._list_names = [outermost, *inner]
        self._having = having
        self._path_cache: list[str] = []
        self._identity_reader = IdentityReader(entity)
        self._record_decoders: list[msgspec.json.Decoder[Any]] = []
        self._lenient_decoders: list[LenientDecoder] = []
        record: Any = None
        for level, below in enumerate([None, *self._list_names[:0:-1]]):
            fields = record_fields(
                entity, [(each.path_parts, each) for each in columns if each.levels_up == level], having=having
            )
            undecoded_below = define_struct("Record", fields, below, msgspec.Raw)
            self._record_decoders.insert(0, msgspec.json.Decoder(undecoded_below))
            self._lenient_decoders.insert(0, LenientDecoder(undecoded_below, fields, below))
            record = define_struct("Record", fields, below, record)
        is_required = list_path not in entity.optional_lists
        self.field = (self._page_path, records_leaf(list_path, record, is_required=is_required))
        self._page_decoder = msgspec.json.Decoder(define_document(dict([self.field])))
        undecoded = records_leaf(list_path, msgspec.Raw, is_required=is_required)
        self._undecoded_page_decoder = msgspec.json.Decoder(define_document({self._page_path: undecoded}))

    def decode(self, body: bytes, records: Records, rejected: list[RejectedRecord], item_id: str) -> None:
        """Append the valid records of a login's page to `records`, and the others to `rejected`."""

        def reject(fault: RecordFault, record: bytes, outer: Sequence[msgspec.Struct]) -> None:
            rejected.append(RejectedRecord(fault, self._identity_reader.read(record, outer, item_id=item_id)))

        try:
            page = self._page_decoder.decode(body)
        except DECODE_ERRORS:
            records.extend_located(self._list_path, self._filter_having(self._decode_each(body, reject)))
        else:
            self.extract(page, records)

    def extract(self, page: msgspec.Struct, target: Records) -> None:
        """Append the records of a decoded page to `target`."""
        levels: list[Sequence[Any]] = [records_at(page, self._page_path)]
        paths = self._paths(len(levels[0]))
        for name in self._list_names[1:]:
            paths, levels = _records_below(name, paths, levels)
        if self._having is not None:
            having = [value is not None for value in map(attrgetter(attribute(self._having)), levels[0])]
            paths, levels = list(compress(paths, having)), [list(compress(level, having)) for level in levels]
        target.extend(self._list_path, paths, levels)

    def _paths(self, count: int) -> list[str]:
        """Return the paths of the first `count` records of a page's list; cached, as all pages have the same."""
        cache = self._path_cache
        cache += [self._place(self._list_names[0], ordinal) for ordinal in range(len(cache), count)]
        return cache[:count]

    def _place(self, name: str, ordinal: int) -> str:
        """Return the place of a record in the object above it."""
        return name if self._list_path.endswith(ONE_RECORD) else f"{name}[{ordinal}]"

    def _filter_having(self, located_records: Iterable[LocatedRecord]) -> Iterable[LocatedRecord]:
        if self._having is None:
            return located_records
        return (
            located for located in located_records if getattr(located.records[0], attribute(self._having)) is not None
        )

    def _list_below(self, page_or_record: msgspec.Struct, depth: int) -> Sequence[Any]:
        """Return the list of a page, or that of a record at a depth."""
        path = (self._list_names[depth],) if depth else self._page_path
        return records_at(page_or_record, path)

    def _decode_each(self, body: bytes, reject: _Reject) -> Iterator[LocatedRecord]:
        try:
            page = self._undecoded_page_decoder.decode(body)
        except DECODE_ERRORS as error:
            reject(to_fault("", str(error)), body, ())
            return
        yield from self._walk_decoding_each(page, LocatedRecord("", ()), reject)

    def _walk_decoding_each(
        self, page_or_record: msgspec.Struct, parent: LocatedRecord, reject: _Reject
    ) -> Iterator[LocatedRecord]:
        """Yield the records below a page or a record, each decoded by itself."""
        depth = len(parent.records)
        name = self._list_names[depth]
        for ordinal, raw in enumerate(self._list_below(page_or_record, depth)):
            path = f"{parent.path}.{self._place(name, ordinal)}".lstrip(".")
            try:
                record, warnings = self._decode_record(depth, raw, path)
            except InvalidRecord as error:
                if self._having is None or depth + 1 < len(self._list_names) or has_member(raw, self._having):
                    reject(error.fault, bytes(raw), parent.records)
                continue
            located = LocatedRecord(path, (record, *parent.records), (*warnings, *parent.warnings))
            if depth + 1 == len(self._list_names):
                yield located
            else:
                yield from self._walk_decoding_each(record, located, reject)

    def _decode_record(self, depth: int, raw: msgspec.Raw, path: str) -> tuple[msgspec.Struct, list[FieldWarning]]:
        try:
            return self._record_decoders[depth].decode(raw), []
        except DECODE_ERRORS:
            warnings: list[FieldWarning] = []
            return self._lenient_decoders[depth].decode(raw, path, warnings), warnings


def _records_below(
    name: str, paths: Sequence[str], levels: Sequence[Sequence[Any]]
) -> tuple[list[str], list[Sequence[Any]]]:
    """Return the paths of the records in the lists `name` of some records, and their levels; see `Records`."""
    lists = map(attrgetter(attribute(name)), levels[0])
    below = [
        (index, f"{path}.{name}[{ordinal}]", record)
        for index, (path, records) in enumerate(zip(paths, lists, strict=True))
        for ordinal, record in enumerate(records or ())
    ]
    owners = [index for index, _, _ in below]
    paths_below, records_below = [path for _, path, _ in below], [record for _, _, record in below]
    return paths_below, [records_below, *([level[index] for index in owners] for level in levels)]


def _combined_decoder(decoders: Sequence[_RecordListDecoder]) -> msgspec.json.Decoder[Any] | None:
    """Return a decoder of all lists of a page at once; None if two of the decoders read the same list."""
    fields = dict(decoder.field for decoder in decoders)
    return msgspec.json.Decoder(define_document(fields)) if len(fields) == len(decoders) else None
