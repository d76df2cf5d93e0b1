"""Decoding of a page's envelope: its fields, and its lists of undecoded records; bounded before memory is spent."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from etl.declare.provider import ErrorAction
from etl.declare.source import Source
from etl.json_text import DECODE_ERRORS, repair
from etl.sync.provider.client import AnswerTooLarge, ProviderCallFailed

MAX_COMMAS_PER_RECORD = 100
"""Commas of a page for each record that it may have. A transaction of Plaid has some 60, and a page may have
`PAGE_TOLERANCE` times as many records as were asked for; an empty record has one."""

MIN_COMMAS = 100_000
"""Commas that any page may have, however few records are asked for: it may list hundreds of accounts beside them. As
many empty records take 10 MB to decode."""

Fields = tuple[tuple[str, type], ...]
"""Fields of an envelope, with their types."""


def parse_page(source: Source, fields: Fields, page_size: int, body: bytes) -> tuple[bytes, tuple[Any, ...]]:
    """Return a page, and the values of its envelope: the fields, then each list with its records undecoded.

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
    try:
        envelope = msgspec.structs.astuple(_decode(_decoder(fields, _list_names(source)), body))
    except DECODE_ERRORS:
        raise ProviderCallFailed(ErrorAction.RETRY, "a page that is not JSON of the declared shape") from None
    records = sum(map(len, envelope[len(fields) :]))
    if records > source.record_limit:
        raise AnswerTooLarge(
            f"a page of {records} records where {page_size} were asked for and at most {source.record_limit} are read"
        )
    return body, envelope


def read_identity(record: msgspec.Raw, name: str) -> object:
    """Return the value of a record's field; None if it has no such field, or is no object."""
    try:
        (value,) = msgspec.structs.astuple(_identity_decoder(name).decode(record))
    except DECODE_ERRORS:
        return None
    return value


def _decode(decoder: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> msgspec.Struct:
    try:
        return decoder.decode(body)
    except DECODE_ERRORS:
        return decoder.decode(repair(body))


def _list_names(source: Source) -> tuple[str, ...]:
    """Return the names of the page's lists that hold the records, each once."""
    return tuple(dict.fromkeys(path.partition("[]")[0] for path in (*source.upserts, *source.removals)))


@cache
def _decoder(fields: Fields, lists: tuple[str, ...]) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return a decoder of the fields and lists that every page must have; an absent list is an error."""
    return msgspec.json.Decoder(
        msgspec.defstruct("Envelope", [*fields, *((name, list[msgspec.Raw]) for name in lists)])
    )


@cache
def _identity_decoder(name: str) -> msgspec.json.Decoder[msgspec.Struct]:
    return msgspec.json.Decoder(msgspec.defstruct("Identity", [(name, str | int | None, None)]))
