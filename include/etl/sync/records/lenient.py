"""Decoding of a record that has a bad field: a field that may be dropped becomes null, and is warned of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from etl.json_text import DECODE_ERRORS
from etl.sync.records.documents import attribute
from etl.sync.records.faults import FieldWarning, RecordFault, describe_json
from etl.sync.records.structs import RecordField

RULE = "type"
"""Rule of a value that cannot be decoded as the type of its column."""

_ERROR_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class InvalidRecord(ValueError):
    """A record is invalid in more than fields that may be dropped."""

    def __init__(self, fault: RecordFault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


class LenientDecoder:
    """Decodes objects field by field, which takes ten times as long as to decode them at once.

    Parameters
    ----------
    struct
        Type of the result.
    fields
        Its fields.
    child_field
        Name of a further field, a list of undecoded records; None if there is none.
    """

    def __init__(
        self, struct: type[msgspec.Struct], fields: Sequence[RecordField], child_field: str | None = None
    ) -> None:
        self._struct = struct
        self._child_field = child_field
        self._fields = [(field, msgspec.json.Decoder(field.nullable_type)) for field in fields]
        self._below = {field.name: LenientDecoder(field.type, field.below) for field in fields if field.below}
        self._child_decoder = msgspec.json.Decoder(list[msgspec.Raw] | None)

    def decode(self, record: bytes | msgspec.Raw, path: str, warnings: list[FieldWarning]) -> msgspec.Struct:
        """Return an object as a struct, and append a warning to `warnings` for each field that is dropped.

        Parameters
        ----------
        path
            Path of the object in the page.

        Raises
        ------
        InvalidRecord
            If it is no object, or has a bad field that may not be dropped.
        """
        members = _decode(_OBJECT, record, path)
        values: dict[str, Any] = {}
        for field, decoder in self._fields:
            if field.name in members:
                values[attribute(field.name)] = self._decode_field(field, decoder, members[field.name], path, warnings)
            elif field.is_required:
                raise InvalidRecord(to_fault(f"{path}.{field.name}", "the required field is missing"))
        if self._child_field is not None and self._child_field in members:
            child_path = f"{path}.{self._child_field}"
            values[attribute(self._child_field)] = _decode(self._child_decoder, members[self._child_field], child_path)
        return self._struct(**values)

    def _decode_field(
        self,
        field: RecordField,
        decoder: msgspec.json.Decoder[Any],
        member: msgspec.Raw,
        path: str,
        warnings: list[FieldWarning],
    ) -> Any:  # noqa: ANN401 - any JSON
        field_path = f"{path}.{field.name}"
        try:
            return decoder.decode(member)
        except DECODE_ERRORS as error:
            if field.below and bytes(member).startswith(b"{"):
                return self._below[field.name].decode(member, field_path, warnings)
            if not field.may_drop:
                raise InvalidRecord(to_fault(field_path, str(error))) from None
        warnings.append(FieldWarning(field_path, RULE, describe_json(bytes(member))))
        return None


def has_member(record: msgspec.Raw, name: str) -> bool:
    """Return whether a record is no object, or an object with such a field that is not null."""
    try:
        return bytes(_OBJECT.decode(record).get(name, b"null")) != b"null"
    except DECODE_ERRORS:
        return True


def to_fault(path: str, error: str) -> RecordFault:
    """Return the fault for an error of decoding the object or value at a path; the error may name a field below."""
    match = _ERROR_PATH.search(error)
    fault_path = path + (match["path"] if match else "")
    return RecordFault(fault_path.lstrip(".") or "$", RULE, _ERROR_PATH.sub("", error))


def _decode(decoder: msgspec.json.Decoder[Any], value: bytes | msgspec.Raw, path: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return decoder.decode(value)
    except DECODE_ERRORS as error:
        raise InvalidRecord(to_fault(path, str(error))) from None
