"""Suppress: adds addresses, one or those of a CSV file, to the list of those that get no messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from etl.csv_lines import LineMalformed, iter_lines
from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.errors import PermanentError
from etl.notify.store import suppressions

BATCH_SIZE = 1_000
"""Addresses that are held in memory and written in one transaction."""

_MAX_REASON_LENGTH = 100
_COLUMN_COUNT = 2
_HEADER = "address"


class SuppressionInvalid(PermanentError):
    """An address or a reason is invalid; the message does not quote it."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}, so nothing was suppressed.")
        self.detail = detail


@dataclass
class ImportResult:
    """Counts of an imported file.

    Attributes
    ----------
    added
        Addresses that were not suppressed before.
    existing
        Addresses that were suppressed before, or are repeated in the file.
    invalid
        Lines that were skipped as invalid.
    """

    added: int = 0
    existing: int = 0
    invalid: int = 0


def suppress_address(channel: Channel, address: str, reason: str, *, db: Connection) -> bool:
    """Suppress an address; return False if it was suppressed before, in which case it keeps its reason.

    Raises
    ------
    SuppressionInvalid
        If it is no address of the channel, or the reason is empty, too long or unprintable.
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
    """Suppress the addresses of a CSV file with an address and a reason on each line.

    Each line is parsed by itself, so that a stray quotation mark spoils that line only and not the rest of the file.
    The same file may be imported again: existing suppressions do not change.

    Parameters
    ----------
    file
        UTF-8; its first line may be `address,reason`.
    default_reason
        Reason for lines without one; None if each line must have one.
    on_invalid
        Called for each invalid line with its 1-based number and what is wrong, without the address.
    """
    result = ImportResult()

    def parse_entries() -> Iterator[tuple[str, str]]:
        for number, fields in iter_lines(file, _HEADER):
            try:
                yield _parse_entry(channel, fields, default_reason=default_reason)
            except SuppressionInvalid as error:
                result.invalid += 1
                on_invalid(number, error.detail)

    entries = parse_entries()
    while batch := list(islice(entries, BATCH_SIZE)):
        added = suppressions.add(db, channel, batch)
        result.added, result.existing = result.added + added, result.existing + len(batch) - added
    return result


def _parse_entry(channel: Channel, fields: list[str] | LineMalformed, *, default_reason: str | None) -> tuple[str, str]:
    """Return the address and the reason of a line."""
    if isinstance(fields, LineMalformed):
        raise SuppressionInvalid(str(fields))
    if len(fields) > _COLUMN_COUNT:
        raise SuppressionInvalid(f"the line has {len(fields)} fields, where an address and a reason are expected")
    reason = fields[1] if len(fields) == _COLUMN_COUNT else ""
    return _validate(channel, fields[0], reason or default_reason or "")


def _validate(channel: Channel, address: str, reason: str) -> tuple[str, str]:
    address, reason = address.strip(), reason.strip()
    if not _is_storable(address) or not channel.accepts(address):
        raise SuppressionInvalid(f"not a valid {channel.name} address")
    if not reason or not reason.isprintable() or len(reason) > _MAX_REASON_LENGTH:
        raise SuppressionInvalid(f"the reason must have 1 to {_MAX_REASON_LENGTH} printable characters")
    return address, reason


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
