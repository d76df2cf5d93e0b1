"""Decoding of a page's envelope: its fields, and its lists of undecoded records; bounded before memory is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from etl.declare.provider import ErrorAction
from etl.declare.source import Source
from etl.json_text import DECODE_ERRORS, repair
from etl.sync.provider.failures import AnswerTooLarge, ProviderCallFailed
from etl.sync.records.documents import (
    ONE_RECORD,
    Leaf,
    Path,
    define_document,
    records_at,
    records_leaf,
    split_path,
    value_at,
)

MAX_COMMAS_PER_RECORD = 100
"""Commas of a page for each record that it may have. A transaction with all its details has some 60, and a page may
have `PAGE_TOLERANCE` times as many records as were asked for; an empty record has one."""

MIN_COMMAS = 100_000
"""Commas that any page may have, however few records are asked for: it may list hundreds of accounts beside them. As
many empty records take 10 MB to decode."""

Fields = tuple[tuple[str, Leaf], ...]
"""Paths of fields of an envelope, each with its type."""


@dataclass(frozen=True)
class Envelope:
    """What a page says beside its records.

    Parameters
    ----------
    fields
        Values of the fields that were asked for.
    lists
        The lists of the source, with their records undecoded.
    """

    fields: tuple[Any, ...]
    lists: tuple[Sequence[msgspec.Raw], ...]

    @property
    def records(self) -> int:
        """Number of its records."""
        return sum(map(len, self.lists))


def parse_page(source: Source, fields: Fields, page_size: int, body: bytes) -> Envelope:
    """Return the envelope of a page.

    Parameters
    ----------
    page_size
        Records that were asked for.

    Raises
    ------
    AnswerTooLarge
        If it has more records than its source declares.
    ProviderCallFailed
        If it does not have the declared shape.
    """
    commas = body.count(b",")
    if commas > max(MIN_COMMAS, MAX_COMMAS_PER_RECORD * source.record_limit):
        raise AnswerTooLarge(f"a page of {commas} or more values where {page_size} records were asked for")
    lists = tuple((path, not {path, path + "[]"} & set(source.optional)) for path in source.lists)
    decoder = _decoder(tuple((split_path(path), leaf) for path, leaf in fields), lists)
    try:
        document = _decode(decoder, body)
    except DECODE_ERRORS:
        raise ProviderCallFailed(ErrorAction.RETRY, "a page that is not JSON of the declared shape") from None
    envelope = Envelope(
        tuple(value_at(document, split_path(path)) for path, _ in fields),
        tuple(records_at(document, split_path(path.removesuffix(ONE_RECORD))) for path, _ in lists),
    )
    if envelope.records > source.record_limit:
        raise AnswerTooLarge(
            f"a page of {envelope.records} records where {page_size} were asked for and at most {source.record_limit} "
            "are read"
        )
    return envelope


def read_identity(record: msgspec.Raw, name: str) -> object:
    """Return the value of a record's field; None if it has no such field, or is no object."""
    try:
        return value_at(_identity_decoder(name).decode(record), (name,))
    except DECODE_ERRORS:
        return None


def _decode(decoder: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> msgspec.Struct:
    try:
        return decoder.decode(body)
    except DECODE_ERRORS:
        return decoder.decode(repair(body))


@cache
def _decoder(
    fields: tuple[tuple[Path, Leaf], ...], lists: tuple[tuple[str, bool], ...]
) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return a decoder of the fields and lists; a list that a page must have is an error if it is absent."""
    leaves = {
        split_path(path.removesuffix(ONE_RECORD)): records_leaf(path, msgspec.Raw, is_required=is_required)
        for path, is_required in lists
    }
    return msgspec.json.Decoder(define_document({**dict(fields), **leaves}))


@cache
def _identity_decoder(name: str) -> msgspec.json.Decoder[msgspec.Struct]:
    return msgspec.json.Decoder(define_document({(name,): Leaf(str | int, is_required=False)}))
