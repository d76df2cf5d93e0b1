"""Identity of rejected records, so that a record that is rejected again and again is one reject."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from etl.declare.api.request import Placeholder
from etl.declare.entity import PROVIDER_ACCOUNT, Column, Entity
from etl.json_text import DECODE_ERRORS
from etl.sync.records.documents import value_at
from etl.sync.records.structs import MSGSPEC_TYPES

SEPARATOR = "\x1f"
"""Between the values of a key: U+001F, the unit separator of ASCII, which no provider's id contains."""
MAX_LENGTH = 1_000
"""Bytes; a longer key would not fit into an index of Postgres."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class RecordIdentity:
    """What a rejected record is, as far as it says.

    Parameters
    ----------
    record_id
        Its key as sent, without the provider account; `sha256:` and a digest of the record if it has no usable key.
    replaces
        Key of the earlier record that it replaces; None if it names none. See `Entity.replaces`.
    """

    record_id: str
    replaces: str | None


class IdentityReader:
    """Reads the identity of records that could not be decoded as a whole.

    Parameters
    ----------
    entity
        Whose key columns to read.
    """

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._columns = {
            column.name: (column, msgspec.json.Decoder(MSGSPEC_TYPES[column.sent_as])) for column in entity.columns
        }

    def read(self, record: bytes, outer: Sequence[msgspec.Struct] = (), *, item_id: str = "") -> RecordIdentity:
        """Return the identity of a record as sent, which need not even be valid JSON.

        Parameters
        ----------
        outer
            The record whose list contains it, and so on upwards.
        item_id
            Of its login, for the columns that are filled with it.
        """

        def value(name: str) -> object:
            column, decoder = self._columns[name]
            if column.fill is Placeholder.ITEM_ID:
                return item_id or None
            if column.levels_up:
                above = outer[column.levels_up - 1 : column.levels_up]
                return value_at(above[0], column.path_parts) if above else None
            try:
                found = decoder.decode(_member(record, column))
            except (*DECODE_ERRORS, LookupError):
                found = None
            return value(column.otherwise) if found is None and column.otherwise is not None else found

        return identify(self._entity, value, lambda: record)


def identify(entity: Entity, value: Callable[[str], object], content: Callable[[], bytes]) -> RecordIdentity:
    """Return the identity of a record.

    Parameters
    ----------
    value
        Column → its value in the record; None if it has none, or an invalid one.
    content
        Returns the content of the record, for a digest.
    """
    names = [name for name in entity.key if name != PROVIDER_ACCOUNT]
    key = _join([value(name) for name in names])
    replaces = None if entity.replaces is None else _join([value(entity.replaces)])
    return RecordIdentity(key or f"sha256:{hashlib.sha256(content()).hexdigest()}", replaces)


def digest_content(values: Mapping[str, Any]) -> bytes:
    """Return the content of a typed record, for a digest: the same for the same values."""
    return repr(sorted(values.items())).encode("utf-8", errors="backslashreplace")


def _join(values: Sequence[object]) -> str | None:
    """Return the values of a key as one text; None if one is missing, blank, or cannot be stored."""
    texts = [str(value) for value in values if value is not None]
    joined = SEPARATOR.join(texts)
    is_usable = len(texts) == len(values) and all(text.strip() for text in texts) and "\x00" not in joined
    return joined if is_usable and len(joined.encode()) <= MAX_LENGTH else None


def _member(record: bytes, column: Column) -> bytes:
    """Return the JSON of a column's field."""
    member: bytes | msgspec.Raw = record
    for name in column.path_parts:
        member = _OBJECT.decode(member)[name]
    return bytes(member)
