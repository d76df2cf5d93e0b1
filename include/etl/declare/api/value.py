"""Values of columns that are not what a record says: signs, fills, time zones, and identities of records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from etl.declare.api.request import Placeholder
from etl.declare.validation import require_distinct, require_list_paths, require_tuple, require_type
from etl.errors import DeclarationError

_DIRECTIVE = re.compile(r"%.")
_DAY_DIRECTIVES = frozenset({"%d", "%m", "%Y", "%y", "%b", "%B", "%j", "%e"})
_TIME_DIRECTIVES = frozenset({"%H", "%I", "%M", "%S", "%p", "%z", "%T", "%R"})
_DIRECTIVES = _DAY_DIRECTIVES | _TIME_DIRECTIVES | {"%%", "%F", "%D", "%a", "%A"}
_YEARS, _MONTHS, _DAYS = {"%Y", "%y"}, {"%m", "%b", "%B"}, {"%d", "%e"}


@dataclass(frozen=True)
class Negated:
    """The amount is sent with the opposite sign: positive if money came in."""


@dataclass(frozen=True)
class Indicator:
    """The amount is sent without a sign, and another column tells the direction.

    Parameters
    ----------
    column
        Column of text that tells it; it may have `stored=False`.
    debit, credit
        Its values for money that left the account, and for money that came in. Any other rejects the amount, and so
        does a sign in the amount itself.
    """

    column: str
    debit: tuple[str, ...]
    credit: tuple[str, ...]

    def __post_init__(self) -> None:
        where = f"Indicator({self.column!r})"
        require_type(where, "column", self.column, str)
        require_tuple(where, "debit", self.debit, str, minimum=1)
        require_tuple(where, "credit", self.credit, str, minimum=1)
        if both := set(self.debit) & set(self.credit):
            raise DeclarationError(f"{where}: {min(both)!r} is both debit and credit; remove it from one")


Sign = Negated | Indicator


@dataclass(frozen=True)
class ByList:
    """The value follows from the list that has the record.

    Parameters
    ----------
    values
        Path of the list, as in `upserts` → value.
    """

    values: Mapping[str, str | bool | int]

    def __post_init__(self) -> None:
        require_type("ByList", "values", self.values, Mapping)
        require_list_paths("ByList", "values", tuple(self.values))
        if not self.values:
            raise DeclarationError("ByList: values is empty; write the value of each list")


Fill = ByList | Placeholder


@dataclass(frozen=True)
class FromColumn:
    """The value stands in another column of the record."""

    column: str

    def __post_init__(self) -> None:
        require_type("FromColumn", "column", self.column, str)


@dataclass(frozen=True, init=False)
class Identity:
    """Identifies records that have no id, by the values of some columns.

    Records of a login with the same values are told apart by their ordinal among these twins, so that two equal
    purchases are two rows. A change of any of these columns is another record.

    Parameters
    ----------
    columns
        The columns.
    """

    columns: tuple[str, ...]

    def __init__(self, *columns: str) -> None:
        object.__setattr__(self, "columns", columns)
        require_tuple("Identity", "columns", columns, str, minimum=1)
        require_distinct("Identity", "columns", columns)


def require_format(where: str, text: str, *, has_time: bool) -> None:
    """Refuse a form of dates that has unknown directives, or names no day, or no time where there must be one."""
    directives = set(_DIRECTIVE.findall(text))
    if "%" in _DIRECTIVE.sub("", text):
        raise DeclarationError(f"{where}: format is {text!r}, with a single '%' at its end; remove it")
    if unknown := directives - _DIRECTIVES:
        raise DeclarationError(
            f"{where}: format has {min(unknown)!r}; write directives such as %d, %m, %Y, %H, %M, %S and %z"
        )
    names_day = "%F" in directives or "%D" in directives or all(directives & each for each in (_YEARS, _MONTHS, _DAYS))
    if not names_day:
        raise DeclarationError(f"{where}: format is {text!r}, which names no day; write such as '%d.%m.%Y'")
    if not has_time and directives & _TIME_DIRECTIVES:
        raise DeclarationError(f"{where}: format is {text!r}, with a time, but its kind is DATE; remove one of the two")


def require_zone(where: str, name: str) -> None:
    """Refuse a time zone that does not exist."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise DeclarationError(
            f"{where}: zone is {name!r}, which is no time zone; write such as 'Europe/Berlin' or 'UTC'"
        ) from None
