"""Suppress: keep addresses from getting anything, one or a file of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.errors import PermanentError
from etl.notify.store import suppressions

BATCH_SIZE = 1_000
"""That are held in memory, and written in one transaction."""

_MAX_LINE_BYTES = 64 * 1024
_MAX_REASON_LENGTH = 100
_COLUMN_COUNT = 2
_HEADER = "address"


class SuppressionInvalid(PermanentError):
    """What was given is no address of a channel, or no reason; the message does not show it."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}, so nothing was suppressed.")
        self.detail = detail


@dataclass
class ImportResult:
    """What was done with a file.

    Attributes
    ----------
    added
        Addresses that were not suppressed before.
    existing
        Those that were, or that the file names twice.
    invalid
        Lines that could not be used.
    """

    added: int = 0
    existing: int = 0
    invalid: int = 0


def suppress_address(channel: Channel, address: str, reason: str, *, db: Connection) -> bool:
    """Suppress an address; False if it was suppressed before, which keeps its reason.

    Raises
    ------
    Unsuppressable
        If it is no address of the medium, or the reason is empty or long.
    """
    return bool(suppressions.add(db, channel, [_validate(channel, address, reason)]))


def suppress_from_csv(
    channel: Channel,
    file: BinaryIO,
    *,
    default_reason: str | None,
    db: Connection,
    on_invalid: Callable[[int, str], None],
) -> ImportResult:
    """Suppress the addresses of a file, a line each: CSV of an address and a reason.

    Each line is read by itself, so that a stray quotation mark spoils one line and not the rest of the file. It may be
    read again: what is known stays.

    Parameters
    ----------
    file
        UTF-8; the first may be `address,reason`.
    default_reason
        Why those are suppressed whose line does not say; None if each must.
    on_invalid
        Called with the number of each line that cannot be used, 1-based, and why, without the address.
    """
    read = ImportResult()

    def good() -> Iterator[tuple[str, str]]:
        for number, line in _numbered_lines(file):
            try:
                found = _parse_line(channel, line, default_reason=default_reason, is_first=number == 1)
            except SuppressionInvalid as error:
                read.invalid += 1
                on_invalid(number, error.detail)
                continue
            if found is not None:
                yield found

    addresses = good()
    while page := list(islice(addresses, BATCH_SIZE)):
        added = suppressions.add(db, channel, page)
        read.added, read.existing = read.added + added, read.existing + len(page) - added
    return read


def _numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, and of one that is too long a beginning that is too long."""
    number = 0
    while line := file.readline(_MAX_LINE_BYTES + 1):
        number += 1
        rest = line
        while rest and not rest.endswith(b"\n") and len(rest) > _MAX_LINE_BYTES:
            rest = file.readline(_MAX_LINE_BYTES + 1)
        yield number, line


def _parse_line(channel: Channel, line: bytes, *, default_reason: str | None, is_first: bool) -> tuple[str, str] | None:
    """Return an address and its reason; None if the line has none to tell of."""
    if len(line) > _MAX_LINE_BYTES:
        raise SuppressionInvalid(f"the line is longer than {_MAX_LINE_BYTES:,} bytes")
    try:
        text = line.decode("utf-8-sig" if is_first else "utf-8").strip()
        fields = [field.strip() for field in next(csv.reader([text], strict=True), [])]
    except UnicodeDecodeError:
        raise SuppressionInvalid("the line is not UTF-8") from None
    except csv.Error as error:
        raise SuppressionInvalid(f"the line is no CSV: {error}") from None
    if not any(fields) or (is_first and fields[0].lower() == _HEADER):
        return None
    if len(fields) > _COLUMN_COUNT:
        raise SuppressionInvalid(f"the line has {len(fields)} fields, where an address and a reason are expected")
    said = fields[1] if len(fields) == _COLUMN_COUNT else ""
    return _validate(channel, fields[0], said or default_reason or "")


def _validate(channel: Channel, address: str, reason: str) -> tuple[str, str]:
    address, reason = address.strip(), reason.strip()
    if not _is_storable(address) or not channel.accepts(address):
        raise SuppressionInvalid(f"no address of {channel.name}")
    if not reason or not reason.isprintable() or len(reason) > _MAX_REASON_LENGTH:
        raise SuppressionInvalid(f"no reason of 1 to {_MAX_REASON_LENGTH} characters that can be seen")
    return address, reason


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
