"""SQL files with named statements, each below a line `-- name: <name>`."""

import re
from dataclasses import dataclass
from pathlib import Path

from etl.declare.fault import project_path
from etl.errors import DeclarationError

_NAME_LINE = re.compile(r"^-- name: (\w+)[^\S\n]*\n", re.MULTILINE)


@dataclass(frozen=True)
class StatementText:
    """The text of a statement, and where it is.

    Parameters
    ----------
    path, line
        The file, and the line of the first character.
    text
        The statement, with its comment.
    """

    path: Path
    line: int
    text: str

    def locate(self, position: int) -> str:
        """Return file and line of the character at an index."""
        lines_before = self.text[:position].count("\n")
        return f"{project_path(self.path)}:{self.line + lines_before}"


def read_statements(path: Path) -> dict[str, str]:
    """Return the texts of the statements of a file by name; see `find_statements`."""
    return {name: found.text for name, found in find_statements(path).items()}


def find_statements(path: Path) -> dict[str, StatementText]:
    """Return the statements of a file by name, each with its comment.

    `<name>.<part>.sql` continues `<name>.sql`.

    Raises
    ------
    DeclarationError
        If the file is missing, is not UTF-8, or names a statement twice.
    """
    found: dict[str, StatementText] = {}
    for each in (path, *sorted(path.parent.glob(f"{path.stem}.*.sql"))):
        content = _read(each)
        names = list(_NAME_LINE.finditer(content))
        for name, after in zip(names, [*(each.start() for each in names[1:]), len(content)], strict=True):
            if name[1] in found:
                raise DeclarationError(f"{project_path(path)}: statement {name[1]} is defined twice; rename one")
            line = content.count("\n", 0, name.end()) + 1
            found[name[1]] = StatementText(each, line, content[name.end() : after])
    return found


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
