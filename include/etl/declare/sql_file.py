"""The SQL files that go with declarations: statements, each below a line `-- name: <name>`."""

import re
from pathlib import Path

from etl.declare.fault import project_path
from etl.errors import DeclarationError

SQL_ROOT = Path(__file__).parents[2] / "sql"
_NAME_LINE = re.compile(r"^-- name: (\w+)[^\S\n]*\n", re.MULTILINE)


def read_statements(path: Path) -> dict[str, str]:
    """Return the statements of a file by name, each with its comment.

    Raises
    ------
    DeclarationError
        If the file is missing, is no UTF-8 or names a statement twice.
    """
    try:
        found = _NAME_LINE.split(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DeclarationError(
            f"{project_path(path)} is missing; write it, with a `-- name:` line before each statement"
        ) from None
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{project_path(path)} is no UTF-8 text: {error}; save it as such") from None
    names = found[1::2]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{project_path(path)}: statement {name} stands there twice; rename one")
    return dict(zip(names, found[2::2], strict=True))


def require_statements(path: Path, names: tuple[str, ...]) -> None:
    """Refuse a file that lacks one of these statements, or has nothing but comments for it.

    Raises
    ------
    DeclarationError
        With the names of those that it lacks.
    """
    found = read_statements(path)
    if lacking := [name for name in names if _is_empty(found.get(name, ""))]:
        lines = " and ".join(f"`-- name: {name}`" for name in lacking)
        raise DeclarationError(f"{project_path(path)} lacks {', '.join(lacking)}; write the SQL below a line {lines}")


def _is_empty(text: str) -> bool:
    return all(not line.strip() or line.lstrip().startswith("--") for line in text.splitlines())
