"""Columns: fields of a record, each with its name and type in the core table."""

import re
from dataclasses import dataclass
from enum import Enum

from etl.declare.validation import FIELD_PATTERN, require_identifier, require_type
from etl.errors import DeclarationError

PROVIDER_ACCOUNT = "provider_account_id"
"""Column that every row has: the surrogate id of the provider account that it came from."""

IMPLICIT_COLUMNS = (PROVIDER_ACCOUNT, "seq", "removed", "observed_at", "raw_id")
"""Columns that every row has without their being declared."""

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
        Dotted path of the field in the record; the column's name if not given. Each leading `../` goes up to the
        record that holds the list that holds this one.
    required
        Whether a record without it is rejected.
    """

    name: str
    kind: ColumnType
    path: str = ""
    required: bool = True

    def __post_init__(self) -> None:
        where = f"column {self.name}"
        require_identifier(where, "name", self.name)
        require_type(where, "kind", self.kind, ColumnType)
        require_type(where, "path", self.path, str)
        require_type(where, "required", self.required, bool)
        if self.name in IMPLICIT_COLUMNS:
            raise DeclarationError(f"{where}: every row has this one without its being declared; take it out")
        if self.path and not _PATH.fullmatch(self.path):
            raise DeclarationError(
                f"{where}: path is {self.path!r}; write the names on the way to the field, such as "
                "'balances.current', with any '../' in front"
            )

    @property
    def path_parts(self) -> tuple[str, ...]:
        """The path within its record, split."""
        return tuple((self.path or self.name).replace("../", "").split("."))

    @property
    def levels_up(self) -> int:
        """How many lists up its record is."""
        return self.path.count("../")
