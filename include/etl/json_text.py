"""JSON text from outside: the errors of decoding it, and the repair of what no decoder reads.

Repaired are text that is not valid Unicode, and values that are nested deeper than a decoder follows.
"""

import re

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of decoding: JSON that is invalid or of another type, bytes that are not UTF-8, nesting that is too deep."""

MAX_DEPTH = 64
"""Levels of objects and lists that are kept; no provider nests its records deeper than ten."""

_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\."
)
_STRINGS_AND_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|(?P<open>[\[{])|(?P<close>[\]}])', re.DOTALL)
_UNDECODED = msgspec.json.Decoder(msgspec.Raw)


def repair(body: bytes) -> bytes:
    """Return JSON with its text made Unicode, and with null in place of values that are nested too deeply to decode."""
    text = repair_unicode(body)
    try:
        _UNDECODED.decode(text)
    except RecursionError:
        return _limit_depth(text)
    except DECODE_ERRORS:
        pass
    return text


def repair_unicode(body: bytes) -> bytes:
    r"""Return JSON with U+FFFD in place of bytes that are not UTF-8 and of unpaired surrogates (`\ud83d`).

    Banks truncate descriptors without regard to character boundaries, and some send a byte order mark.
    """
    text = body.decode("utf-8", errors="replace").removeprefix(_BYTE_ORDER_MARK)
    return _ESCAPES.sub(lambda match: r"\ufffd" if match["lone"] else match[0], text).encode()


def _limit_depth(body: bytes) -> bytes:
    """Return JSON with null in place of each object and list below `MAX_DEPTH` levels."""
    kept: list[bytes] = []
    depth, kept_until = 0, 0
    for token in _STRINGS_AND_BRACKETS.finditer(body):
        if token["open"]:
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [body[kept_until : token.start()], b"null"]
        elif token["close"]:
            if depth == MAX_DEPTH + 1:
                kept_until = token.end()
            depth -= 1
    return b"".join([*kept, body[kept_until:]]) if depth == 0 else body
