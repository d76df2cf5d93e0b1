"""CSV files from people: each line is parsed by itself, so that a stray quotation mark spoils that line only."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

from etl.errors import PermanentError

_MAX_LINE_BYTES = 64 * 1024


class LineMalformed(PermanentError):
    """A line is no line of a CSV file; the message does not quote it."""


def iter_lines(file: BinaryIO, header: str) -> Iterator[tuple[int, list[str] | LineMalformed]]:
    """Yield the 1-based number of each line, and its fields without blanks around them, or what is wrong with it.

    Empty lines are skipped.

    Parameters
    ----------
    file
        UTF-8.
    header
        Name of the first column; a first line that begins with it is skipped.
    """
    for number, line in _numbered_lines(file):
        try:
            fields = _parse(line, is_first=number == 1)
        except LineMalformed as error:
            yield number, error
            continue
        if any(fields) and not (number == 1 and fields[0].lower() == header):
            yield number, fields


def _numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines; truncate an overlong line to one byte above the limit, so that the caller rejects it."""
    number = 0
    while line := file.readline(_MAX_LINE_BYTES + 1):
        number += 1
        rest = line
        while rest and not rest.endswith(b"\n") and len(rest) > _MAX_LINE_BYTES:
            rest = file.readline(_MAX_LINE_BYTES + 1)
        yield number, line


def _parse(line: bytes, *, is_first: bool) -> list[str]:
    if len(line) > _MAX_LINE_BYTES:
        raise LineMalformed(f"the line is longer than {_MAX_LINE_BYTES:,} bytes")
    try:
        text = line.decode("utf-8-sig" if is_first else "utf-8").strip()
        return [field.strip() for field in next(csv.reader([text], strict=True), [])]
    except UnicodeDecodeError:
        raise LineMalformed("the line is not UTF-8") from None
    except csv.Error as error:
        raise LineMalformed(f"the line is not valid CSV: {error}") from None
