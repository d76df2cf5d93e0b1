"""Users' locales and time zones, which the application tells us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("notify/users")


@dataclass(frozen=True)
class Preferences:
    """How a user wants to be written to.

    Parameters
    ----------
    locale
        Tag of BCP 47; None if the user named none.
    time_zone
        Name of the IANA database; None if the user named none.
    """

    locale: str | None
    time_zone: str | None


@dataclass(frozen=True)
class SavedLine:
    """What became of a line.

    Parameters
    ----------
    line
        Its number.
    is_known, is_changed
        Whether there is such a user, and whether anything about them changed.
    """

    line: int
    is_known: bool
    is_changed: bool


def find(db: Connection, reference: str) -> Preferences | None:
    """Return what a user named, or None if there is no such user."""
    return _SQL["find"].first(db, Preferences, {"reference": reference})


def save(db: Connection, lines: Sequence[tuple[int, str, Preferences]]) -> list[SavedLine]:
    """Store what users named, in place of what they named before; a line has its number and the user's reference."""
    values = {
        "lines": [number for number, _, _ in lines],
        "references": [reference for _, reference, _ in lines],
        "locales": [preferences.locale for _, _, preferences in lines],
        "time_zones": [preferences.time_zone for _, _, preferences in lines],
    }
    return _SQL["save"].objects(db, SavedLine, values)
