"""Recall: the record behind a reject, as the provider sent it."""

from upath import UPath

from etl.pointers import record_at
from etl.stores import raw
from etl.stores.rejects import KeptReject
from etl.stores.warehouse import Warehouse


def recall(reject: KeptReject, *, warehouse: Warehouse, root: UPath) -> bytes:
    """Return the record that was rejected, byte by byte as sent; all of the page if it could not be taken apart.

    Raises
    ------
    RawMissing
        If its raw batch is gone.
    RawCorrupt
        If its raw batch does not hold what was sealed.
    """
    batch = raw.find(warehouse, reject.raw_id)
    found = b""
    for line, (_, body) in enumerate(raw.read(root, batch)):
        if line == reject.line:
            found = record_at(body, reject.path)
    return found
