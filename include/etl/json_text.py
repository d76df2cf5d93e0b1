"""JSON text from outside: the errors of decoding it, and the repair of text that is not valid Unicode."""

import re

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of decoding: JSON that is invalid or of another type, bytes that are not UTF-8, nesting that is too deep."""

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\."
)


def repair_unicode(body: bytes) -> bytes:
    r"""Return JSON with U+FFFD in place of bytes that are not UTF-8 and of unpaired surrogates (`\ud83d`).

    Banks truncate descriptors without regard to character boundaries, and some send a byte order mark.
    """
    text = body.decode("utf-8", errors="replace").removeprefix(_BYTE_ORDER_MARK)
    return _ESCAPES.sub(lambda match: r"\ufffd" if match["lone"] else match[0], text).encode()
