"""Pointers: places in a page, such as `added[3].amount`, and what stands there."""

import re

import msgspec

from etl.records import UNDECODABLE

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
