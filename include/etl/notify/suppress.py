"""Suppress: keep addresses from getting anything, one or a file of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from etl.db.connection import Warehouse
from etl.declare.channel import Medium
from etl.errors import PermanentError
from etl.notify.store import suppressions

ADDRESSES = 1_000
"""That are held in memory, and written in one transaction."""

_LONGEST_LINE = 64 * 1024
_LONGEST_REASON = 100
_COLUMNS = 2
_HEADER = "address"


class Unsuppressable(PermanentError):
    """What was given is no address of a channel, or no reason; the message does not show it."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}, so nothing was suppressed.")
        self.found = found


@dataclass
class Read:
    """What was done with a file.

    Attributes
    ----------
    added
        Addresses that were not suppressed before.
    known
        Those that were, or that the file names twice.
    wrong
        Lines that could not be used.
    """

    added: int = 0
    known: int = 0
    wrong: int = 0


def suppress(medium: Medium, address: str, reason: str, *, warehouse: Warehouse) -> bool:
    """Suppress an address; False if it was suppressed before, which keeps its reason.

    Raises
    ------
    Unsuppressable
        If it is no address of the medium, or the reason is empty or long.
    """
    return bool(suppressions.add(warehouse, medium, [_checked(medium, address, reason)]))


def suppress_lines(
    medium: Medium,
    lines: BinaryIO,
    *,
    reason: str | None,
    warehouse: Warehouse,
    wrong: Callable[[int, str], None],
) -> Read:
    """Suppress the addresses of a file, a line each: CSV of an address and a reason.

    Each line is read by itself, so that a stray quotation mark spoils one line and not the rest of the file. It may be
    read again: what is known stays.

    Parameters
    ----------
    lines
        UTF-8; the first may be `address,reason`.
    reason
        Why those are suppressed whose line does not say; None if each must.
    wrong
        Called with the number of each line that cannot be used, 1-based, and why, without the address.
    """
    read = Read()

    def good() -> Iterator[tuple[str, str]]:
        for number, line in _numbered(lines):
            try:
                found = _parsed(medium, line, reason=reason, first=number == 1)
            except Unsuppressable as error:
                read.wrong += 1
                wrong(number, error.found)
                continue
            if found is not None:
                yield found

    addresses = good()
    while page := list(islice(addresses, ADDRESSES)):
        added = suppressions.add(warehouse, medium, page)
        read.added, read.known = read.added + added, read.known + len(page) - added
    return read


def _numbered(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, and of one that is too long a beginning that is too long."""
    number = 0
    while line := lines.readline(_LONGEST_LINE + 1):
        number += 1
        rest = line
        while rest and not rest.endswith(b"\n") and len(rest) > _LONGEST_LINE:
            rest = lines.readline(_LONGEST_LINE + 1)
        yield number, line


def _parsed(medium: Medium, line: bytes, *, reason: str | None, first: bool) -> tuple[str, str] | None:
    """Return an address and its reason; None if the line has none to tell of."""
    if len(line) > _LONGEST_LINE:
        raise Unsuppressable(f"the line is longer than {_LONGEST_LINE:,} bytes")
    try:
        text = line.decode("utf-8-sig" if first else "utf-8").strip()
        fields = [field.strip() for field in next(csv.reader([text], strict=True), [])]
    except UnicodeDecodeError:
        raise Unsuppressable("the line is not UTF-8") from None
    except csv.Error as error:
        raise Unsuppressable(f"the line is no CSV: {error}") from None
    if not any(fields) or (first and fields[0].lower() == _HEADER):
        return None
    if len(fields) > _COLUMNS:
        raise Unsuppressable(f"the line has {len(fields)} fields, where an address and a reason are expected")
    said = fields[1] if len(fields) == _COLUMNS else ""
    return _checked(medium, fields[0], said or reason or "")


def _checked(medium: Medium, address: str, reason: str) -> tuple[str, str]:
    address, reason = address.strip(), reason.strip()
    if not _storable(address) or not medium.takes(address):
        raise Unsuppressable(f"no address of {medium.name}")
    if not reason or not reason.isprintable() or len(reason) > _LONGEST_REASON:
        raise Unsuppressable(f"no reason of 1 to {_LONGEST_REASON} characters that can be seen")
    return address, reason


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
