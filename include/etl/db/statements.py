"""Named SQL statements, read from `include/sql/`.

Each file holds blocks that begin with `-- name: <name>`; the comment lines below say why, and values are bound as
`%(name)s`. Nothing is ever spliced into them but another statement of the project, at a `{name}`.
"""

from functools import cache

from psycopg.sql import SQL

from etl.declare.sql_file import SQL_ROOT, read_statements
from etl.errors import DeclarationError

__all__ = ["SQL_ROOT", "statement", "statements", "substitute"]


@cache
def statements(file: str) -> dict[str, SQL]:
    """Return the statements of a file by name.

    Parameters
    ----------
    file
        Path below `include/sql/`, without the suffix, such as `entities/transactions`.

    Raises
    ------
    DeclarationError
        If the file is missing or names a statement twice.
    """
    found = read_statements(SQL_ROOT / f"{file}.sql")
    # The text comes from a file of the project and from nowhere else, which is what SQL() asks for.
    return {name: SQL(text) for name, text in found.items()}


def statement(file: str, name: str) -> SQL:
    """Return one statement of a file.

    Raises
    ------
    DeclarationError
        If the file is missing or has no such statement.
    """
    found = statements(file)
    if name not in found:
        raise DeclarationError(f"{SQL_ROOT / file}.sql has no statement {name!r}; add a block `-- name: {name}`")
    return found[name]


def substitute(template: SQL, **parts: SQL) -> bytes:
    """Return a statement with others in the place of their `{name}`; all of them come from files of the project."""
    text = template.as_string(None)
    for name, part in parts.items():
        inner = part.as_string(None).strip().removesuffix(";")
        # A line break ends a comment that the last line may hold.
        text = text.replace(f"{{{name}}}", f"{inner}\n")
    return text.encode()
