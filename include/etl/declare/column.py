"""Columns of an entity: each maps a field of a record to a name and a type in the core table."""

import re
from dataclasses import dataclass
from enum import Enum

from etl.declare.validation import FIELD_PATTERN, require_count, require_identifier, require_type
from etl.errors import DeclarationError

PROVIDER_ACCOUNT = "provider_account_id"
"""Column that every row has: the surrogate id of its provider account."""

IMPLICIT_COLUMNS = (PROVIDER_ACCOUNT, "seq", "removed", "observed_at", "raw_id")
"""Columns that every row has without a declaration."""

MAX_TEXT_LENGTH = 500
"""Characters that a text may have if its column does not say otherwise, so that no bank fills the table with one."""

MERGE_COLUMNS = ("removed_at", "removed_for", "closed_on", "outdated_at", "superseded_at", "row_exists", "superseded")
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
    """

    name: str
    kind: ColumnType
    path: str = ""
    required: bool = True
    max_length: int = MAX_TEXT_LENGTH
    summary: str = ""

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
        if self.name in IMPLICIT_COLUMNS:
            raise DeclarationError(f"{where}: every row has this column without a declaration; remove it")
        if self.name in MERGE_COLUMNS:
            raise DeclarationError(f"{where}: the merge keeps a column of this name by itself; choose another name")
        if self.path and not _PATH.fullmatch(self.path):
            raise DeclarationError(
                f"{where}: path is {self.path!r}; write the names that lead to the field, such as "
                "'balances.current', with any '../' in front"
            )

    @property
    def path_parts(self) -> tuple[str, ...]:
        """Field names of the path within its record."""
        return tuple((self.path or self.name).replace("../", "").split("."))

    @property
    def levels_up(self) -> int:
        """Number of lists between the record that holds the field and this one."""
        return self.path.count("../")
