"""Columns of an entity: each maps a field of a record to a name and a type in the core table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from reprlib import repr as shortened

from etl.declare.api.request import Epoch, Placeholder
from etl.declare.api.value import (
    ByList,
    Fill,
    FromColumn,
    Identity,
    Indicator,
    Negated,
    Sign,
    require_format,
    require_zone,
)
from etl.declare.rules.names import SYSTEM_COLUMNS
from etl.declare.validation import FIELD_PATTERN, require_count, require_identifier, require_tuple, require_type
from etl.errors import DeclarationError

MAX_DECIMALS = 10
"""Decimals that an amount in the core table may have."""

PROVIDER_ACCOUNT = "provider_account_id"
"""Column that every row has: the surrogate id of its provider account."""

IMPLICIT_COLUMNS = (PROVIDER_ACCOUNT, "seq", "removed", "observed_at", "raw_id")
"""Columns that every row has without a declaration."""

MAX_TEXT_LENGTH = 500
"""Characters that a text may have if its column does not say otherwise, so that no bank fills the table with one."""

MERGE_COLUMNS = (
    "removed_at",
    "removed_for",
    "posted_as",
    "closed_on",
    "outdated_at",
    "superseded_at",
    "row_exists",
    "superseded",
)
"""Columns that a merge writes, or computes, in rows of some entities."""

_PATH = re.compile(rf"(\.\./)*{FIELD_PATTERN}(\.{FIELD_PATTERN})*")


class ColumnType(Enum):
    """Type of a column: in JSON, in Arrow and in Postgres."""

    TEXT = "text"
    MONEY = "numeric(28,10)"
    DATE = "date"
    INSTANT = "timestamptz"
    BOOLEAN = "boolean"
    INTEGER = "bigint"


class SentAs(Enum):
    """JSON type of the field that a column reads."""

    TEXT = "text"
    DECIMAL = "decimal"
    """A number, or a text such as `"12.30"`."""
    DATE = "date"
    INSTANT = "instant"
    """Date, time and UTC offset, in ISO 8601."""
    LOCAL_TIME = "local time"
    """Date and time, in ISO 8601."""
    BOOLEAN = "boolean"
    INTEGER = "integer"


_SENT_AS = {
    ColumnType.TEXT: SentAs.TEXT,
    ColumnType.MONEY: SentAs.DECIMAL,
    ColumnType.DATE: SentAs.DATE,
    ColumnType.INSTANT: SentAs.INSTANT,
    ColumnType.BOOLEAN: SentAs.BOOLEAN,
    ColumnType.INTEGER: SentAs.INTEGER,
}
_TIMES = (ColumnType.DATE, ColumnType.INSTANT)


@dataclass(frozen=True)
class Column:
    """A typed column of an entity.

    Parameters
    ----------
    name
        Name of the column in the core table.
    kind
        Its type.
    path
        Dotted path of the field in the record; the column's name if not given. Each leading `../` goes up one list, to
        the record that contains it.
    required
        Whether a record is rejected if the field is missing or bad. In any other column, a bad value is null in the
        row, and a field warning is kept; only the currency of money rejects the record even so.
    max_length
        Most characters of a text; a longer one is a bad value. Other types have limits of their own.
    summary
        What it holds, where the name does not say it; the comment of the column in Postgres.
    sign
        How the sign of an amount follows; None if it is sent as it is stored: positive if money left the account.
    minor_units
        Whether an amount is sent in minor units, such as cents, of its currency; or how many decimals it has.
    decimal_comma
        Whether an amount is a text with a decimal comma, such as `1.234,56`.
    format
        Form of a date or an instant: directives of `strptime`, such as `%d.%m.%Y`, or an `Epoch`; None for ISO 8601.
    zone
        Time zone of local times, such as `Europe/Berlin`, or `FromColumn` with the column that has it. A date that is
        sent as an `Epoch` is the day in this zone; by default in UTC.
    stored
        Whether it is a column of the core table; others serve checks, hooks and other columns only.
    fill
        Where its value comes from, if not from a field: `Placeholder.ITEM_ID`, or `ByList`.
    default
        Its value where the field is absent or null.
    null_values
        Values of the field that stand for null, such as `""` or 0.
    matching
        Pattern of the values of a text that count, with `*` for any characters and `?` for one; any other stands for
        null. None if all count.
    otherwise
        Column of the same type whose value counts where this one is null.
    identity
        How to identify records whose field is absent or null; only for a text.
    """

    name: str
    kind: ColumnType
    path: str = ""
    required: bool = True
    max_length: int = MAX_TEXT_LENGTH
    summary: str = ""
    sign: Sign | None = None
    minor_units: bool | int = False
    decimal_comma: bool = False
    format: str | Epoch | None = None
    zone: str | FromColumn | None = None
    stored: bool = True
    fill: Fill | None = None
    default: str | bool | int | None = None
    null_values: tuple[str | int, ...] = ()
    matching: str | None = None
    otherwise: str | None = None
    identity: Identity | None = None

    def __post_init__(self) -> None:
        where = f"column {self.name}"
        require_identifier(where, "name", self.name)
        require_type(where, "kind", self.kind, ColumnType)
        require_type(where, "path", self.path, str)
        require_type(where, "required", self.required, bool)
        require_count(where, "max_length", self.max_length, minimum=1)
        if self.kind is not ColumnType.TEXT and self.max_length != MAX_TEXT_LENGTH:
            raise DeclarationError(
                f"{where}: max_length is {self.max_length}, but only a text has one and this is ColumnType."
                f"{self.kind.name}; remove it"
            )
        require_type(where, "summary", self.summary, str)
        require_type(where, "stored", self.stored, bool)
        if self.name in SYSTEM_COLUMNS:
            raise DeclarationError(f"{where}: every table of Postgres has a column of this name; choose another name")
        if self.name in IMPLICIT_COLUMNS:
            raise DeclarationError(f"{where}: every row has this column without a declaration; remove it")
        if self.name in MERGE_COLUMNS:
            raise DeclarationError(f"{where}: the merge keeps a column of this name by itself; choose another name")
        if self.path and not _PATH.fullmatch(self.path):
            raise DeclarationError(
                f"{where}: path is {self.path!r}; write the names that lead to the field, such as "
                "'balances.current', with any '../' in front"
            )
        _check_amount(where, self)
        _check_time(where, self)
        _check_substitutes(where, self)

    @property
    def path_parts(self) -> tuple[str, ...]:
        """Field names of the path within its record."""
        return tuple((self.path or self.name).replace("../", "").split("."))

    @property
    def levels_up(self) -> int:
        """Number of lists between the record that holds the field and this one."""
        return self.path.count("../")

    @property
    def sent_as(self) -> SentAs:
        """Type of the field that it reads."""
        if self.format is not None:
            return SentAs.INTEGER if isinstance(self.format, Epoch) else SentAs.TEXT
        if self.decimal_comma:
            return SentAs.TEXT
        if self.zone is not None and self.kind is ColumnType.INSTANT:
            return SentAs.LOCAL_TIME
        return _SENT_AS[self.kind]

    @property
    def must_be_sent(self) -> bool:
        """Whether a record without the field is invalid."""
        return self.required and not self.has_substitute

    @property
    def has_substitute(self) -> bool:
        """Whether its value may come from elsewhere than from the field."""
        return bool(
            self.fill is not None
            or self.default is not None
            or self.null_values
            or self.matching is not None
            or self.otherwise is not None
            or self.identity is not None
        )

    @property
    def is_converted(self) -> bool:
        """Whether its value is another than that which was sent."""
        return bool(
            self.has_substitute
            or self.sign is not None
            or self.minor_units is not False
            or self.decimal_comma
            or self.format is not None
            or self.zone is not None
        )

    @property
    def uses(self) -> Mapping[str, ColumnType | None]:
        """Columns that its value depends on → the type that each must have; None for any."""
        columns: dict[str, ColumnType | None] = {}
        if isinstance(self.sign, Indicator):
            columns[self.sign.column] = ColumnType.TEXT
        if isinstance(self.zone, FromColumn):
            columns[self.zone.column] = ColumnType.TEXT
        if self.otherwise is not None:
            columns[self.otherwise] = self.kind
        if self.identity is not None:
            columns |= dict.fromkeys(self.identity.columns)
        return columns


def _check_amount(where: str, column: Column) -> None:
    require_type(where, "sign", column.sign, Negated, Indicator, type(None))
    require_type(where, "minor_units", column.minor_units, bool, int)
    require_type(where, "decimal_comma", column.decimal_comma, bool)
    if not isinstance(column.minor_units, bool):
        require_count(where, "minor_units", column.minor_units, minimum=0, maximum=MAX_DECIMALS)
    for name, is_given in (
        ("sign", column.sign is not None),
        ("minor_units", column.minor_units is not False),
        ("decimal_comma", column.decimal_comma),
    ):
        if is_given and column.kind is not ColumnType.MONEY:
            raise DeclarationError(f"{where}: {name} is given, but its kind is {column.kind.name}, no MONEY; remove it")
    if column.decimal_comma and column.minor_units is not False:
        raise DeclarationError(f"{where}: it has both decimal_comma and minor_units, which have no comma; remove one")


def _check_time(where: str, column: Column) -> None:
    require_type(where, "format", column.format, str, Epoch, type(None))
    require_type(where, "zone", column.zone, str, FromColumn, type(None))
    for name in ("format", "zone"):
        if getattr(column, name) is not None and column.kind not in _TIMES:
            raise DeclarationError(
                f"{where}: {name} is given, but its kind is {column.kind.name}, neither DATE nor INSTANT; remove it"
            )
    if isinstance(column.format, str):
        require_format(where, column.format, has_time=column.kind is ColumnType.INSTANT)
    if isinstance(column.zone, str):
        require_zone(where, column.zone)
    is_epoch, has_offset = isinstance(column.format, Epoch), isinstance(column.format, str) and "%z" in column.format
    if column.kind is ColumnType.DATE and column.zone is not None and not is_epoch:
        raise DeclarationError(f"{where}: zone is given, but a day that is sent as a day has none; remove it")
    if column.kind is ColumnType.INSTANT and column.zone is not None and (is_epoch or has_offset):
        raise DeclarationError(f"{where}: zone is given, but its format says the instant without one; remove it")
    if column.kind is ColumnType.INSTANT and isinstance(column.format, str) and not has_offset and column.zone is None:
        raise DeclarationError(
            f"{where}: format is {column.format!r}, a local time; write its zone, such as zone='Europe/Berlin'"
        )


def _check_substitutes(where: str, column: Column) -> None:
    require_type(where, "fill", column.fill, ByList, Placeholder, type(None))
    require_type(where, "otherwise", column.otherwise, str, type(None))
    require_type(where, "identity", column.identity, Identity, type(None))
    require_type(where, "matching", column.matching, str, type(None))
    if column.matching is not None and column.kind is not ColumnType.TEXT:
        raise DeclarationError(f"{where}: matching is given, but its kind is {column.kind.name}; write ColumnType.TEXT")
    require_tuple(where, "null_values", column.null_values, object)
    if isinstance(column.fill, Placeholder) and column.fill is not Placeholder.ITEM_ID:
        raise DeclarationError(
            f"{where}: fill is Placeholder.{column.fill.name}, which is no property of a record; only "
            "Placeholder.ITEM_ID is"
        )
    if column.fill is not None and (
        column.path or column.sign or column.format or column.null_values or column.matching
    ):
        raise DeclarationError(
            f"{where}: it has a fill, and so reads no field; remove path, sign, format, null_values and matching"
        )
    if column.fill is Placeholder.ITEM_ID and column.kind is not ColumnType.TEXT:
        raise DeclarationError(f"{where}: fill is Placeholder.ITEM_ID, a text, but its kind is {column.kind.name}")
    values = column.fill.values.values() if isinstance(column.fill, ByList) else ()
    given = (*values, *([] if column.default is None else [column.default]))
    for value in given:
        expected = _PYTHON_TYPES.get(column.kind)
        if expected is None:
            raise DeclarationError(f"{where}: a {column.kind.name} has no default or fill by list; remove it")
        require_type(where, "each default or fill", value, expected)
        _require_storable(where, value, column.max_length)
    for value in column.null_values:
        require_type(where, "each of its null_values", value, int if column.sent_as is SentAs.INTEGER else str)
        _require_storable(where, value, column.max_length)
        if column.sent_as not in (SentAs.INTEGER, SentAs.TEXT):
            raise DeclarationError(
                f"{where}: null_values has {value!r}, but its field is a {column.sent_as.value}; declare its format"
            )
    if column.identity is not None and column.kind is not ColumnType.TEXT:
        raise DeclarationError(f"{where}: identity is given, but its kind is {column.kind.name}; write ColumnType.TEXT")
    if column.name in column.uses:
        raise DeclarationError(f"{where}: it depends on itself; name other columns")


def _require_storable(where: str, value: object, max_length: int) -> None:
    """Refuse a constant that the column cannot hold."""
    problem = ""
    if isinstance(value, str) and len(value) > max_length:
        problem = f"is longer than its max_length, {max_length}"
    elif isinstance(value, str) and ("\0" in value or any("\ud800" <= each <= "\udfff" for each in value)):
        problem = "has a NUL or half a surrogate pair, which Postgres cannot store"
    elif isinstance(value, int) and not _MIN_INTEGER <= value <= _MAX_INTEGER:
        problem = "does not fit 64 bits"
    if problem:
        raise DeclarationError(f"{where}: the constant {shortened(value)} {problem}; write another")


_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1

_PYTHON_TYPES = {ColumnType.TEXT: str, ColumnType.BOOLEAN: bool, ColumnType.INTEGER: int}
"""Type of constants in each kind of column that may have one."""
