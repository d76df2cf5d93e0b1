"""Text that others named, such as a payee or an account, in a form that can do nothing in a message but be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

from markupsafe import Markup

MAX_LENGTH = 300
"""Characters of a value; a longer one is cut."""

NON_JOINER = "\u200c"
"""The zero width non-joiner, which ends a link and a phone number for the mail programs and systems that look for them.

A word joiner and a zero width space do not: libphonenumber, by which Android finds numbers, reads over them.
"""

_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"
_RIGHT_TO_LEFT_CLASSES = {"R", "AL", "AN"}
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn"}
_JOINERS = "\u200c\u200d"
"""Persian, Hindi and emoji of several characters need these."""

_PLAIN = re.compile(r"(?:[!-~]+(?: [!-~]+)*)?")
"""What is one visible line already."""

_MARKS = r"[.:/\\@\u2024\u3002\uff0e\uff61\uff1a\uff0f\uff20]"
"""What joins the parts of an address: dots, colons, slashes and at signs, also those of East Asian scripts."""
_LINK_MARK = re.compile(rf"(?<!\d){_MARKS}+(?!\s)|{_MARKS}+(?![\s\d])")
_NUMBER = re.compile(r"\d(?:[^\w,]{0,4}\d){4,}|\d+(?:\.\d+){3}")
"""Five digits may be a phone number, and four numbers an address. No system takes a comma for a part of either."""
_DIGITS = re.compile(r"\d{3}(?=\d)|\d(?=[^\w,]{1,4}\d)")
_DIGITS_BEFORE_LETTERS = re.compile(r"\d{3}(?=[-._][A-Za-z]{3})")
"""A number that ends in a word, such as 1-800-FLOWERS."""
_SUSPICIOUS = re.compile(rf"{_MARKS}|{_NUMBER.pattern}|{_DIGITS_BEFORE_LETTERS.pattern}")
_LONG_NUMBER = re.compile(r"\d(?:[^\w,]{0,4}\d){6,}")
_CODE_LENGTH = 3
_SHORT_AMOUNT = 10
"""Characters of an amount with its currency that have six digits at most."""


class Ours(str):
    """Text that we wrote or were told by an operator, such as a link: templates render it as it is."""

    __slots__ = ()


_HARMLESS_TYPES = frozenset({Ours, Markup, bool, int, float, Decimal, date, datetime})


def mark_ours(value: object) -> Ours:
    """Return text that templates render as it is; None is empty."""
    return Ours("" if value is None else value)


def mark_amount(text: str, currency: str) -> str:
    """Return a formatted amount as ours, unless it is as long as a phone number, or its currency is no code."""
    is_code = len(currency) == _CODE_LENGTH and currency.isascii() and currency.isalpha()
    return mark_number(text) if is_code else text


def mark_number(text: str) -> str:
    """Return a formatted number as ours, unless it is as long as a phone number."""
    return Ours(text) if len(text) <= _SHORT_AMOUNT or not _LONG_NUMBER.search(text) else text


def join_rendered(parts: Iterable[str]) -> Ours:
    """Return the text of a block or a macro, whose values were rendered safely one by one."""
    return Ours("".join(parts))


def render_safely(value: object) -> object:
    """Return a value as templates show it.

    None is empty. Text is sanitized and defused, but for a space at either end, unless it is `Ours`, or HTML that a
    template has rendered.
    """
    if type(value) in _HARMLESS_TYPES:
        return value
    if value is None:
        return ""
    text = str(value)
    safe = defuse(sanitize_text(text, MAX_LENGTH))
    before, after = " " * text.startswith(" "), " " * text.endswith(" ")
    return f"{before}{safe}{after}" if safe else ""


def pad_right(value: object, width: int) -> Ours:
    """Return a value at the left of a column of plain text, cut to its width."""
    text = str(render_safely(sanitize_text(str(value), width) if isinstance(value, str) else value))
    return Ours(text + " " * (width - _measure_width(text)))


def pad_left(value: object, width: int) -> Ours:
    """Return a value at the right of a column of plain text; one that is wider stays whole."""
    text = str(render_safely(value))
    return Ours(" " * (width - _measure_width(text)) + text)


def sanitize_text(text: str | None, max_length: int = 60) -> str:
    """Return a name from a bank in a form that cannot disturb the text around it.

    The result is one line of at most `max_length` characters, without invisible characters; empty if nothing of it is
    visible. If it has right-to-left characters, it is isolated, so that they do not reorder the text that follows.

    Source: Unicode Standard Annex 9, "Unicode Bidirectional Algorithm", 2.4, "Explicit Directional Isolates".
    """
    if text is None:
        return ""
    if len(text) <= max_length and _PLAIN.fullmatch(text):
        return text
    visible = "".join(" " if char.isspace() else char for char in text if char.isspace() or _is_visible(char))
    line = " ".join(visible.split())
    if not line.strip(f"{_JOINERS} "):
        return ""
    if len(line) > max_length:
        line = line[: max_length - 1].rstrip() + "…"
    has_right_to_left = any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT_CLASSES for char in line)
    return f"{_FIRST_STRONG_ISOLATE}{line}{_POP_ISOLATE}" if has_right_to_left else line


def defuse(text: str) -> str:
    """Return text in which no mail program or phone finds a link, a mail address or a number to tap.

    It looks the same: only zero width non-joiners are added, around what joins the parts of an address, and within
    numbers of five digits and more.
    """
    if not _SUSPICIOUS.search(text):
        return text
    text = _LINK_MARK.sub(lambda mark: NON_JOINER + "".join(char + NON_JOINER for char in mark[0]), text)
    text = _NUMBER.sub(lambda number: _DIGITS.sub(rf"\g<0>{NON_JOINER}", number[0]), text)
    return _DIGITS_BEFORE_LETTERS.sub(rf"\g<0>{NON_JOINER}", text)


def _measure_width(text: str) -> int:
    """Return how many columns a text takes: East Asian characters take two, marks and invisible ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def _is_visible(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _INVISIBLE_CATEGORIES
