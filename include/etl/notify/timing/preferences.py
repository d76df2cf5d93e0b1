"""Preferences: records in which language and time zone users want to be written to, one or those of a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from etl.csv_lines import LineMalformed, iter_lines
from etl.db.connection import Connection
from etl.declare.timing.locales import find_locale, to_tag
from etl.declare.timing.zones import find_zone
from etl.errors import PermanentError
from etl.notify.store import users
from etl.notify.store.users import Preferences

BATCH_SIZE = 1_000
"""Users that are held in memory and written in one transaction."""

_COLUMN_COUNT = 3
_HEADER = "user"


class PreferenceInvalid(PermanentError):
    """A user, a locale or a time zone is invalid."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}, so nothing was recorded.")
        self.detail = detail


@dataclass
class ImportResult:
    """Counts of an imported file.

    Attributes
    ----------
    changed, unchanged
        Users whose preferences changed, and did not.
    invalid
        Lines that were skipped.
    """

    changed: int = 0
    unchanged: int = 0
    invalid: int = 0


def set_preferences(reference: str, *, locale: str | None, time_zone: str | None, db: Connection) -> Preferences:
    """Record what a user named, and return it.

    Parameters
    ----------
    reference
        The user's id in the application.
    locale, time_zone
        Empty to forget it; None to leave it as it is.

    Raises
    ------
    PreferenceInvalid
        If there is no such user, locale or time zone.
    """
    before = users.find(db, reference)
    if before is None:
        raise PreferenceInvalid(f"there is no user {reference!r}")
    preferences = Preferences(
        before.locale if locale is None else _read_locale(locale),
        before.time_zone if time_zone is None else _read_time_zone(time_zone),
    )
    users.save(db, [(1, reference, preferences)])
    return preferences


def import_preferences(file: BinaryIO, *, db: Connection, on_invalid: Callable[[int, str], None]) -> ImportResult:
    """Record the preferences of a CSV file with a user, a locale and a time zone on each line; empty fields forget.

    The same file may be imported again.

    Parameters
    ----------
    file
        UTF-8; its first line may be `user,locale,time_zone`.
    on_invalid
        Called for each line that is skipped, with its 1-based number and what is wrong.
    """
    result = ImportResult()

    def skip(number: int, detail: str) -> None:
        result.invalid += 1
        on_invalid(number, detail)

    def parse_lines() -> Iterator[tuple[int, str, Preferences]]:
        for number, fields in iter_lines(file, _HEADER):
            try:
                yield number, *_parse_fields(fields)
            except PreferenceInvalid as error:
                skip(number, error.detail)

    lines = parse_lines()
    while batch := list(islice(lines, BATCH_SIZE)):
        for saved in users.save(db, batch):
            if not saved.is_known:
                skip(saved.line, "there is no such user")
            elif saved.is_changed:
                result.changed += 1
            else:
                result.unchanged += 1
    return result


def _parse_fields(fields: list[str] | LineMalformed) -> tuple[str, Preferences]:
    if isinstance(fields, LineMalformed):
        raise PreferenceInvalid(str(fields))
    if len(fields) != _COLUMN_COUNT:
        raise PreferenceInvalid(
            f"the line has {len(fields)} fields, where a user, a locale and a time zone are expected"
        )
    reference, locale, time_zone = fields
    if "\0" in reference:
        raise PreferenceInvalid("there is no such user")
    return reference, Preferences(_read_locale(locale), _read_time_zone(time_zone))


def _read_locale(tag: str) -> str | None:
    if not tag:
        return None
    locale = find_locale(tag)
    if locale is None:
        raise PreferenceInvalid(f"{tag[:40]!r} is no locale; write a tag of BCP 47, such as de-AT")
    return to_tag(locale)


def _read_time_zone(name: str) -> str | None:
    if name and find_zone(name) is None:
        raise PreferenceInvalid(f"{name[:40]!r} is no time zone; write a name of the IANA database, as Europe/Vienna")
    return name or None
