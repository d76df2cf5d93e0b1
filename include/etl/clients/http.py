"""A provider's answer, taken with care: its body bounded, its error code legible, the wait that it asks for."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec

from etl.json_text import DECODE_ERRORS

MAX_BODY_SIZE = 64 << 20
"""Bytes of an answer; some seventy times a full page."""

_READ_SIZE = 1 << 16
_SECONDS = re.compile(r"[0-9]{1,9}")
_PRINTABLE_CODE = re.compile(r"[\w .:/-]{1,100}", re.ASCII)


class BodyTooLarge(Exception):
    """An answer has more bytes than any page; the rest of it was not read."""

    def __init__(self) -> None:
        super().__init__(f"an answer of more than {MAX_BODY_SIZE} bytes")


class ErrorBody(msgspec.Struct):
    """What an error says of itself.

    Parameters
    ----------
    error_type, error_code
        As the provider calls them; None where it does not, or not legibly.
    """

    error_type: str | None = None
    error_code: str | None = None


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer, as sent.

    Raises
    ------
    BodyTooLarge
        If it has more than `MAX_BODY_SIZE` bytes.
    """
    content = bytearray()
    async for piece in response.content.iter_chunked(_READ_SIZE):
        content += piece
        if len(content) > MAX_BODY_SIZE:
            raise BodyTooLarge
    return bytes(content)


def parse_error(content: bytes) -> ErrorBody:
    """Return what the body of an error says; a code goes into tables and logs, and must be fit for both."""
    try:
        found = msgspec.json.decode(content, type=ErrorBody)
    except DECODE_ERRORS:
        return ErrorBody()
    return ErrorBody(_printable_or_none(found.error_type), _printable_or_none(found.error_code))


def parse_retry_after(retry_after: str | None, *, now: datetime) -> timedelta | None:
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


def _printable_or_none(text: str | None) -> str | None:
    return text if text is not None and _PRINTABLE_CODE.fullmatch(text) else None
