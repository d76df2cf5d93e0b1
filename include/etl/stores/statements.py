"""Named SQL statements, read from `include/sql/`.

Each file holds blocks that begin with `-- name: <name>`; the comment lines below say why, and values are bound as
`%(name)s`. Nothing is ever spliced into them.
"""

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

from psycopg.sql import SQL

from etl.errors import DeclarationError

SQL_ROOT = Path(__file__).parents[2] / "sql"
_NAME = re.compile(r"^-- name: (\w+)[^\S\n]*\n", re.MULTILINE)


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
    path = SQL_ROOT / f"{file}.sql"
    if not path.is_file():
        raise DeclarationError(f"{path} is missing; write it, with a `-- name:` line before each statement")
    blocks = _NAME.split(path.read_text(encoding="utf-8"))
    names = blocks[1::2]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{path}: statement {name} stands there twice; rename one")
    # The text comes from a file of the project and from nowhere else, which is what LiteralString promises.
    return {name: SQL(cast(LiteralString, text)) for name, text in zip(names, blocks[2::2], strict=True)}


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
