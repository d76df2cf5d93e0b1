"""SQL files with named statements, each below a line `-- name: <name>`."""

import re
from pathlib import Path

from etl.declare.fault import project_path
from etl.errors import DeclarationError

_NAME_LINE = re.compile(r"^-- name: (\w+)[^\S\n]*\n", re.MULTILINE)


def read_statements(path: Path) -> dict[str, str]:
    """Return the statements of a file by name, each with its comment.

    `<name>.<part>.sql` continues `<name>.sql`.

    Raises
    ------
    DeclarationError
        If the file is missing, is not UTF-8, or names a statement twice.
    """
    names: list[str] = []
    texts: list[str] = []
    for each in (path, *sorted(path.parent.glob(f"{path.stem}.*.sql"))):
        parts = _NAME_LINE.split(_read(each))
        names += parts[1::2]
        texts += parts[2::2]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"{project_path(path)}: statement {name} is defined twice; rename one")
    return dict(zip(names, texts, strict=True))


def require_statements(path: Path, names: tuple[str, ...]) -> None:
    """Refuse a file that lacks one of these statements, or has only comments for it.

    Raises
    ------
    DeclarationError
        With the names of the missing statements.
    """
    statements = read_statements(path)
    if missing := [name for name in names if _is_empty(statements.get(name, ""))]:
        lines = " and ".join(f"`-- name: {name}`" for name in missing)
        raise DeclarationError(f"{project_path(path)} lacks {', '.join(missing)}; write the SQL below a line {lines}")


def require_readable(path: Path) -> None:
    """Refuse a file that exists and cannot be read, or that has only comments for a statement; it may be missing.

    Raises
    ------
    DeclarationError
        With what is wrong; also if the file is missing, and one that continues it is not.
    """
    if path.exists() or any(path.parent.glob(f"{path.stem}.*.sql")):
        require_statements(path, tuple(read_statements(path)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DeclarationError(
            f"{project_path(path)} is missing; write it, with a `-- name:` line before each statement"
        ) from None
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{project_path(path)} is not UTF-8 text: {error}; save it as UTF-8") from None


def _is_empty(text: str) -> bool:
    return all(not line.strip() or line.lstrip().startswith("--") for line in text.splitlines())
