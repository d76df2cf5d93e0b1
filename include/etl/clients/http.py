"""Safe parsing of HTTP responses: a body of bounded size, a printable error code, and `Retry-After`."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

MAX_BODY_SIZE = 64 << 20
"""Bytes of a response; some seventy times a full page."""

MAX_RETRY_AFTER = timedelta(days=366)
"""Longest wait that a response may ask for, so that now and the wait are always a date."""

_READ_SIZE = 1 << 16
_SECONDS = re.compile(r"[0-9]{1,9}")
_PRINTABLE_CODE = re.compile(r"[\w .:/-]{1,100}", re.ASCII)


class BodyTooLarge(Exception):
    """A response has more bytes than any page; the rest was not read."""

    def __init__(self, max_size: int) -> None:
        super().__init__(f"an answer of more than {max_size} bytes")


async def read_body(response: aiohttp.ClientResponse, *, max_size: int | None = None) -> bytes:
    """Return the body of a response, as sent.

    Parameters
    ----------
    max_size
        Most bytes that it may have; None for `MAX_BODY_SIZE`.

    Raises
    ------
    BodyTooLarge
        If it has more.
    """
    max_size = MAX_BODY_SIZE if max_size is None else max_size
    content = bytearray()
    async for block in response.content.iter_chunked(_READ_SIZE):
        content += block
        if len(content) > max_size:
            raise BodyTooLarge(max_size)
    return bytes(content)


def parse_retry_after(retry_after: str | None, *, now: datetime) -> timedelta | None:
    """Return the wait of a `Retry-After` header, given in seconds or as a date; None if it is absent or malformed.

    It is at most `MAX_RETRY_AFTER`.
    """
    if retry_after is None:
        return None
    if _SECONDS.fullmatch(retry_after):
        return min(timedelta(seconds=int(retry_after)), MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    return min(max(until.replace(tzinfo=until.tzinfo or UTC) - now, timedelta()), MAX_RETRY_AFTER)


def printable_or_none(text: str | None) -> str | None:
    """Return a text that is short and printable, as names and codes are; None if it is not."""
    return text if text is not None and _PRINTABLE_CODE.fullmatch(text) else None
