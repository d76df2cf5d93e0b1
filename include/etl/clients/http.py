"""A provider's answer, taken with care: its body bounded, its error code legible, the wait that it asks for."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec

from etl.json_text import UNDECODABLE

LARGEST_BODY = 64 << 20
"""Bytes of an answer; some seventy times a full page."""

_PIECE = 1 << 16
_SECONDS = re.compile(r"[0-9]{1,9}")
_LEGIBLE = re.compile(r"[\w .:/-]{1,100}", re.ASCII)


class BodyTooLarge(Exception):
    """An answer has more bytes than any page; the rest of it was not read."""

    def __init__(self) -> None:
        super().__init__(f"an answer of more than {LARGEST_BODY} bytes")


class ErrorBody(msgspec.Struct):
    """What an error says of itself.

    Parameters
    ----------
    error_type, error_code
        As the provider calls them; None where it does not, or not legibly.
    """

    error_type: str | None = None
    error_code: str | None = None


async def body(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer, as sent.

    Raises
    ------
    BodyTooLarge
        If it has more than `LARGEST_BODY` bytes.
    """
    content = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE):
        content += piece
        if len(content) > LARGEST_BODY:
            raise BodyTooLarge
    return bytes(content)


def error(content: bytes) -> ErrorBody:
    """Return what the body of an error says; a code goes into tables and logs, and must be fit for both."""
    try:
        found = msgspec.json.decode(content, type=ErrorBody)
    except UNDECODABLE:
        return ErrorBody()
    return ErrorBody(_legible(found.error_type), _legible(found.error_code))


def wait(retry_after: str | None, *, now: datetime) -> timedelta | None:
    """Return the wait that a `Retry-After` header asks for, in seconds or until a date; None if it asks for none."""
    if retry_after is None:
        return None
    if _SECONDS.fullmatch(retry_after):
        return timedelta(seconds=int(retry_after))
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    return max(until.replace(tzinfo=until.tzinfo or UTC) - now, timedelta())


def _legible(text: str | None) -> str | None:
    return text if text is not None and _LEGIBLE.fullmatch(text) else None
