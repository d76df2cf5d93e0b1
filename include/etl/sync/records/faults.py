"""What is wrong with records: faults, which reject a record, and field warnings, which cost it one field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

MAX_FOUND_LENGTH = 100
"""Characters of what a bad field held."""

_LIST_POSITION = re.compile(r"\[\d+\]")
_SECRET = re.compile(r"[A-Za-z0-9_\-+/=]{20,}|\d(?:[ -]?\d){12,}")
"""What may be a token, an account number or a card number as a whole."""
_SHOWN_OF_SECRET = 4


@dataclass(frozen=True)
class RecordFault:
    """Why a record is rejected.

    Parameters
    ----------
    path
        Path of the record or field in the page, such as `added[3].amount`.
    rule
        Rule that it broke.
    reason
        What was expected and what was found.
    """

    path: str
    rule: str
    reason: str

    @property
    def kind(self) -> tuple[str, str]:
        """Its path without list positions, and its rule."""
        return without_positions(self.path), self.rule


@dataclass(frozen=True)
class FieldWarning:
    """Why a field of a record is null or rounded in its row.

    Parameters
    ----------
    path
        Path of the field in the page, such as `added[3].datetime`.
    rule
        Rule that it broke.
    found
        What the record has in this field; see `describe_text`.
    """

    path: str
    rule: str
    found: str


@dataclass
class WarningCount:
    """Field warnings of one kind.

    Parameters
    ----------
    provider_account_id, path, rule
        The login, the path without list positions, and the rule: what identifies the kind.
    records
        Number of records.
    line
        Ordinal of the page of the first of them in its raw batch.
    found
        What the first of them has in this field.
    """

    provider_account_id: int
    path: str
    rule: str
    records: int
    line: int
    found: str


class WarningTally:
    """Counts field warnings by login, path and rule, so that their number does not depend on that of the records."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, str, str], WarningCount] = {}

    def add(self, warnings: Iterable[FieldWarning], *, provider_account_id: int, line: int) -> None:
        """Count the warnings of a record."""
        for warning in warnings:
            path = without_positions(warning.path)
            key = (provider_account_id, path, warning.rule)
            count = self._counts.setdefault(key, WarningCount(*key, records=0, line=line, found=warning.found))
            count.records += 1

    def __iter__(self) -> Iterator[WarningCount]:
        """Yield the counts, in the order in which their first records came."""
        return iter(self._counts.values())


def without_positions(path: str) -> str:
    """Return a path without list positions: `added[].amount` instead of `added[3].amount`."""
    return _LIST_POSITION.sub("[]", path)


def describe_value(value: object) -> str:
    """Return the start of a decoded value, as `describe_text` does; a number is no secret."""
    if isinstance(value, Decimal):
        return _shorten(str(value))
    return describe_text(str(value))


def describe_json(value: bytes) -> str:
    """Return the start of JSON as sent, as `describe_text` does."""
    return describe_text(value[: 4 * MAX_FOUND_LENGTH].decode("utf-8", errors="replace"))


def describe_text(text: str) -> str:
    """Return the start of a text, without NUL characters, and with no more than the start of what may be a secret."""
    start = text[: 2 * MAX_FOUND_LENGTH].replace("\x00", "\\0")
    return _shorten(_SECRET.sub(lambda match: f"{match[0][:_SHOWN_OF_SECRET]}…", start))


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_FOUND_LENGTH else f"{text[: MAX_FOUND_LENGTH - 1]}…"
