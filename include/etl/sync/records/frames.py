"""Frames: how pages are laid one after the other in a file.

A frame is a header, one line of JSON, and then the body: as many bytes as the header says, exactly as the provider
sent them, and a line break.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import IO

import msgspec


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a page came from.

    Parameters
    ----------
    provider_account_id
        The account that was asked about.
    page
        Ordinal of the page in the account's loop, from 0.
    path
        Path of the endpoint.
    request
        Body of the request, without secrets.
    cursor_from, cursor_to
        The cursor that was sent, and the one that came back.
    received_at
        When the answer was complete, in UTC.
    size
        Bytes of the body.
    whole
        Whether the account's loop holds all that the feed has, in place of the changes since `cursor_from`.
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


class BrokenFrame(ValueError):
    """A file of frames ends, or goes on, where it should not."""


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
        If the stream does not hold whole frames.
    """
    while line := stream.readline():
        try:
            header = msgspec.json.decode(line, type=Header)
        except msgspec.DecodeError as error:
            raise BrokenFrame(f"no frame header: {error}") from None
        body = stream.read(header.size)
        if len(body) != header.size or stream.read(1) != b"\n":
            raise BrokenFrame(f"a page of {header.size} bytes is cut short")
        yield header, body
