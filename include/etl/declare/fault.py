"""Faults of declarations: a faulty declaration is skipped, the others are not affected."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import EnumType
from pathlib import Path

from etl import catalog_folder
from etl.errors import DeclarationError

INCLUDE_ROOT = Path(__file__).parents[2]
PROJECT_ROOT = INCLUDE_ROOT.parent
_DECLARE_ROOT = Path(__file__).parent

_REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (SyntaxError, "write valid Python"),
    (ImportError, "fix the import"),
    (NameError, "import it, or fix its spelling"),
    (TypeError, "see include/etl/declare/ for the fields of a declaration"),
    (SystemExit, "remove the exit"),
    (PermissionError, "let the user of this process read it"),
    (Exception, "fix this line"),
)

FAILURES = (Exception, SystemExit)
"""What a file may raise when it is imported; anything else, such as Ctrl-C, is not its fault."""


@dataclass(frozen=True)
class DeclarationFault:
    """A fault in a declaration.

    Parameters
    ----------
    name
        Name of the entity or notice, after its file.
    location
        Path of the file from the root of the project, with the line if it is known.
    reason
        The field, its value, and what to do.
    """

    name: str
    location: str
    reason: str

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


def from_error(name: str, path: Path, error: BaseException) -> DeclarationFault:
    """Return the fault of a declaration whose import failed, perhaps because of a file that it imports."""
    reason = str(error)
    if not isinstance(error, DeclarationError):
        remedy = next(remedy for error_type, remedy in _REMEDIES if isinstance(error, error_type))
        text = error.msg if isinstance(error, SyntaxError) else reason
        reason = _name_members(error) or f"{type(error).__name__}: {text}; {remedy}"
    location, raised_at = project_path(path), ""
    for file, line in _traceback_lines(error):
        if file == path.resolve():
            location, raised_at = f"{project_path(path)}:{line}", ""
        elif (file.is_relative_to(INCLUDE_ROOT) and not file.is_relative_to(_DECLARE_ROOT)) or _is_declared(file):
            raised_at = f" (raised at {project_path(file)}:{line})"
    return DeclarationFault(name, location, reason + raised_at)


def _name_members(error: BaseException) -> str | None:
    """Return what an enumeration has instead of a member that it lacks; None for another error."""
    if not (isinstance(error, AttributeError) and isinstance(error.obj, EnumType)):
        return None
    return f"{error.obj.__name__} has no {error.name}; write one of {', '.join(error.obj.__members__)}"


def _traceback_lines(error: BaseException) -> Iterator[tuple[Path, int]]:
    """Yield file and line of each frame of an error, the outermost first."""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith("<"):
            yield Path(frame.filename).resolve(), frame.lineno or 0
    if isinstance(error, SyntaxError) and error.filename:
        yield Path(error.filename).resolve(), error.lineno or 0


@contextmanager
def explained() -> Iterator[None]:
    """Import a file of the catalogue in this block; if that fails, say in one sentence where and why.

    Raises
    ------
    DeclarationError
        With the file of the catalogue and its line.
    """
    try:
        yield
    except FAILURES as error:
        files = [file for file, _ in _traceback_lines(error) if _is_declared(file)]
        if not files:
            raise
        raise DeclarationError(str(from_error(files[-1].stem, files[-1], error))) from error


def _is_declared(file: Path) -> bool:
    """Return whether a file belongs to the catalogue in use, or to the shipped one."""
    folders = (catalog_folder.find().folder.resolve(), catalog_folder.SHIPPED)
    return any(file.is_relative_to(folder) for folder in folders)


def catalog_path(name: str) -> str:
    """Return the path of a file of the catalogue in use, such as `queues.py`, for a message."""
    return project_path(catalog_folder.find().file(name))


def project_path(path: Path) -> str:
    """Return a path relative to the root of the project; an absolute path if it is outside."""
    resolved = path.resolve()
    return str(resolved.relative_to(PROJECT_ROOT)) if resolved.is_relative_to(PROJECT_ROOT) else str(resolved)
