"""Named SQL statements, read from `include/sql/`.

Each file holds blocks that begin with `-- name: <name>` and a comment with the reason. Values are bound as `%(name)s`.
The only text ever substituted into a statement, at `{name}`, is another statement of the project: that of this name in
the same file, if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from psycopg.rows import RowFactory, class_row, dict_row, scalar_row, tuple_row
from psycopg.sql import SQL

from etl.db.connection import Connection
from etl.declare.sql_file import SQL_ROOT, read_statements
from etl.errors import DeclarationError

__all__ = ["SQL_ROOT", "Statement", "StatementFile", "path_of", "statement", "statements"]

Row = TypeVar("Row")
Values = Mapping[str, Any]


class Statement(SQL):
    """A statement, with a method for each form in which its rows are needed.

    It is also a psycopg query, for uses that these methods do not cover, such as `copy`.
    """

    def run(self, db: Connection, values: Values | None = None) -> int:
        """Run the statement and return how many rows it affected."""
        return db.execute(self, values).rowcount

    def scalar(self, db: Connection, values: Values | None = None) -> Any:  # noqa: ANN401 - the statement knows
        """Return the only column of the only row."""
        (value,) = self.scalars(db, values)
        return value

    def scalars(self, db: Connection, values: Values | None = None) -> list[Any]:
        """Return the only column of each row."""
        return self._fetch(db, values, scalar_row)

    def rows(self, db: Connection, values: Values | None = None) -> list[tuple[Any, ...]]:
        """Return each row as a tuple."""
        return self._fetch(db, values, tuple_row)

    def dicts(self, db: Connection, values: Values | None = None) -> list[dict[str, Any]]:
        """Return each row as a dict of its columns."""
        return self._fetch(db, values, dict_row)

    def objects(self, db: Connection, row_type: type[Row], values: Values | None = None) -> list[Row]:
        """Return each row as an instance of a class whose parameters are named like the columns."""
        return self._fetch(db, values, class_row(row_type))

    def first(self, db: Connection, row_type: type[Row], values: Values | None = None) -> Row | None:
        """Return the first row as `objects` would; None if there are no rows."""
        return next(iter(self.objects(db, row_type, values)), None)

    def substitute(self, **parts: Statement) -> Statement:
        """Return this statement with each `{name}` replaced by the statement passed under that name."""
        return Statement(
            _substitute(self.as_string(None), {name: part.as_string(None) for name, part in parts.items()})
        )

    def _fetch(self, db: Connection, values: Values | None, row_factory: RowFactory[Row]) -> list[Row]:
        with db.cursor(row_factory=row_factory) as cursor:
            return cursor.execute(self, values).fetchall()


class StatementFile:
    """The statements of a file, which is read when the first of them is used.

    Parameters
    ----------
    file
        Path below `include/sql/`, without the suffix, such as `entities/transactions`.
    """

    def __init__(self, file: str) -> None:
        self._file = file

    def __getitem__(self, name: str) -> Statement:
        return statement(self._file, name)

    def __contains__(self, name: object) -> bool:
        return name in statements(self._file)


@cache
def statements(file: str) -> dict[str, Statement]:
    """Return the statements of a file by name; `{name}` in one of them stands for another of the file.

    Parameters
    ----------
    file
        Path below `include/sql/`, without the suffix, such as `entities/transactions`.

    Raises
    ------
    DeclarationError
        If the file is missing or names a statement twice.
    """
    # SQL() must never get untrusted text: this text comes only from files of the project.
    texts = read_statements(path_of(file))
    return {name: Statement(_substitute(text, texts)) for name, text in texts.items()}


def path_of(file: str) -> Path:
    """Return the path of a file, which may not exist."""
    return SQL_ROOT / f"{file}.sql"


def statement(file: str, name: str) -> Statement:
    """Return one statement of a file.

    Raises
    ------
    DeclarationError
        If the file is missing or has no such statement.
    """
    by_name = statements(file)
    if name not in by_name:
        raise DeclarationError(f"{SQL_ROOT / file}.sql has no statement {name!r}; add a block `-- name: {name}`")
    return by_name[name]


def _substitute(text: str, parts: Mapping[str, str]) -> str:
    """Return a statement with each `{name}` replaced by the part of that name."""
    for name, part in parts.items():
        # The line break ends a comment that the last line may have.
        text = text.replace(f"{{{name}}}", f"{part.strip().removesuffix(';')}\n")
    return text
