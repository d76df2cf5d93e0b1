"""Locales: languages and regions, as tags of BCP 47 such as `de-AT`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from etl.errors import DeclarationError

if TYPE_CHECKING:
    from babel import Locale

_MAX_TAG_LENGTH = 35
"""The length for which RFC 5646 asks."""


@lru_cache(maxsize=1_024)
def find_locale(tag: str | None) -> Locale | None:
    """Return the locale of a tag, or of as much of it as is known: of `de-XX` that of `de`; None if there is none."""
    from babel import Locale, UnknownLocaleError

    if not tag or len(tag) > _MAX_TAG_LENGTH:
        return None
    for candidate in iter_fallbacks(tag):
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError, TypeError):
            continue
    return None


def to_tag(locale: Locale) -> str:
    """Return the tag of a locale in its usual spelling, such as `de-AT`."""
    return str(locale).replace("_", "-")


def iter_fallbacks(tag: str) -> tuple[str, ...]:
    """Return a tag, and what is left when its last parts are cut off, the longest first.

    Source: RFC 4647, 3.4, "Lookup".
    """
    parts = tag.replace("_", "-").split("-")
    return tuple("-".join(parts[:length]) for length in range(len(parts), 0, -1))


def language_of(tag: str) -> str:
    """Return the language of a tag, as it is written there."""
    return tag.partition("-")[0]


def require_locale(where: str, field: str, tag: object) -> None:
    """Raise DeclarationError unless a value is the tag of a locale in its usual spelling."""
    locale = find_locale(tag) if isinstance(tag, str) else None
    if locale is None or to_tag(locale) != tag:
        raise DeclarationError(
            f"{where}: {field} is {tag!r}; write a language, as in de, or a language and a region, as in de-AT"
        )
