"""The part of a login that an error is about, where a login has several: banks, or accounts."""

from __future__ import annotations

from dataclasses import dataclass

from etl.declare.validation import FIELD, require_identifier, require_type
from etl.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class Part:
    """Says which rows of a login an error inside a response is about.

    Parameters
    ----------
    field
        Field beside the error code, such as `conn_id`, that identifies them.
    column
        Column of the rows that has the same value.
    """

    field: str
    column: str

    def __post_init__(self) -> None:
        require_type("part", "field", self.field, str)
        require_identifier("part", "column", self.column)
        if not FIELD.fullmatch(self.field):
            raise DeclarationError(f"part: field is {self.field!r}; write the name of a field beside the code")
