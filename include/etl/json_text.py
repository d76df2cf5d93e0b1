"""JSON text from outside: what decoding it raises, and the repair of text that is not valid Unicode."""

import re

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for JSON that does not fit, bytes that are no UTF-8, and nesting without end."""

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\."
)


def repair_unicode(body: bytes) -> bytes:
    r"""Return JSON with U+FFFD in place of bytes that are no UTF-8, and of halves of surrogate pairs (`\ud83d`).

    Banks cut descriptors to a length without looking, and some send a byte order mark.
    """
    text = body.decode("utf-8", errors="replace").removeprefix(_BYTE_ORDER_MARK)
    return _ESCAPES.sub(lambda found: r"\ufffd" if found["lone"] else found[0], text).encode()
