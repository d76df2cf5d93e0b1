"""The record behind a reject, read from its raw batch as the provider sent it."""

import re

import msgspec
from upath import UPath

from etl.db.connection import Connection
from etl.json_text import DECODE_ERRORS
from etl.sync.store import raw_batches
from etl.sync.store.rejects import StoredReject

_LIST_ITEM = re.compile(r"\.?(?P<path>[\w.-]+)\[(?P<ordinal>\d+)\]")
_OBJECT_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST_DECODER = msgspec.json.Decoder(list[msgspec.Raw])


def record_at(body: bytes, path: str) -> bytes:
    """Return the innermost record on a path of a page, byte for byte as sent; the whole page if there is none."""
    record, start = body, 0
    while item := _LIST_ITEM.match(path, start):
        try:
            value: bytes | msgspec.Raw = record
            for name in item["path"].split("."):
                value = _OBJECT_DECODER.decode(value)[name]
            record = bytes(_LIST_DECODER.decode(value)[int(item["ordinal"])])
        except (*DECODE_ERRORS, LookupError):
            return record
        start = item.end()
    return record


def read_rejected_record(reject: StoredReject, *, db: Connection, root: UPath) -> bytes:
    """Return the record that was rejected, byte for byte as sent; the whole page if it could not be decoded.

    Raises
    ------
    RawMissing
        If its raw batch does not exist any more.
    RawCorrupt
        If its raw batch does not hold the bytes that were sealed.
    """
    batch = raw_batches.find(db, reject.raw_id)
    record = b""
    for line, (_, body) in enumerate(raw_batches.read(root, batch)):
        if line == reject.line:
            record = record_at(body, reject.path)
    return record
