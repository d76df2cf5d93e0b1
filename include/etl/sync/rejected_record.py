"""Recall: the record behind a reject, as the provider sent it."""

import re

import msgspec
from upath import UPath

from etl.db.connection import Warehouse
from etl.json_text import UNDECODABLE
from etl.sync.store import raw_batches
from etl.sync.store.rejects import KeptReject

_ITEM = re.compile(r"\.?(?P<name>\w+)\[(?P<ordinal>\d+)\]")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])


def record_at(body: bytes, path: str) -> bytes:
    """Return the innermost record on a path of a page, byte by byte as sent; all of the page if there is none."""
    found, start = body, 0
    while item := _ITEM.match(path, start):
        try:
            found = bytes(_list.decode(_object.decode(found)[item["name"]])[int(item["ordinal"])])
        except (*UNDECODABLE, LookupError):
            return found
        start = item.end()
    return found


def recall(reject: KeptReject, *, warehouse: Warehouse, root: UPath) -> bytes:
    """Return the record that was rejected, byte by byte as sent; all of the page if it could not be taken apart.

    Raises
    ------
    RawMissing
        If its raw batch is gone.
    RawCorrupt
        If its raw batch does not hold what was sealed.
    """
    batch = raw_batches.find(warehouse, reject.raw_id)
    found = b""
    for line, (_, body) in enumerate(raw_batches.read(root, batch)):
        if line == reject.line:
            found = record_at(body, reject.path)
    return found
