"""Frames: the format in which pages are written one after the other to a file.

A frame is a header (one line of JSON), the body (as many bytes as the header says, exactly as the provider sent them)
and a line break.
"""

from collections.abc import Iterator
from datetime import date, datetime
from typing import IO

import msgspec


class Gap(msgspec.Struct, frozen=True, omit_defaults=True):
    """Records that a page lacks, as it says itself.

    Parameters
    ----------
    code
        The error code.
    column, value
        Column of the rows that they would be, and its value; empty for all rows of the login.
    detail
        What the provider says about it; empty if nothing.
    """

    code: str
    column: str = ""
    value: str = ""
    detail: str = ""


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The origin of a page.

    Parameters
    ----------
    provider_account_id
        The account that was requested.
    page
        Ordinal of the page in the account's download, from 0.
    path
        Path of the endpoint.
    request
        Body of the request, without secrets.
    cursor_from, cursor_to
        The cursor that was sent, and the one that came back.
    received_at
        When the response was complete, in UTC.
    size
        Bytes of the body.
    whole
        Whether the account's pages are a full read of the feed, instead of the changes since `cursor_from`; of recent
        days, whether they were read without a break.
    generation
        Generation of the account's cursor when the download began, which shows whether another batch moved the cursor
        since; None if the page is not of a feed, or was read before cursors had generations.
    item_id
        The provider's id of the account; empty if it has none.
    first_day, last_day
        The recent days that the account's pages have, both inclusive; None if the page is of another source.
    gaps
        What the page says that it lacks.
    """

    provider_account_id: int
    page: int
    path: str
    request: dict[str, object]
    cursor_from: str
    cursor_to: str
    received_at: datetime
    size: int
    whole: bool = False
    generation: int | None = None
    item_id: str = ""
    first_day: date | None = None
    last_day: date | None = None
    gaps: tuple[Gap, ...] = ()


class BrokenFrame(ValueError):
    """A file holds an incomplete frame, or bytes that are no frame."""


def write(stream: IO[bytes], header: Header, body: bytes) -> None:
    """Append one frame."""
    stream.write(msgspec.json.encode(header) + b"\n")
    stream.write(body)
    stream.write(b"\n")


def read(stream: IO[bytes]) -> Iterator[tuple[Header, bytes]]:
    """Yield each header with its body.

    Raises
    ------
    BrokenFrame
        If the stream does not consist of complete frames.
    """
    while line := stream.readline():
        try:
            header = msgspec.json.decode(line, type=Header)
        except msgspec.DecodeError as error:
            raise BrokenFrame(f"no frame header: {error}") from None
        body = stream.read(header.size)
        if len(body) != header.size or stream.read(1) != b"\n":
            raise BrokenFrame(f"a page of {header.size} bytes is truncated")
        yield header, body
