"""Faults: why what a file declares is left out, while the others go on."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etl.errors import DeclarationError

INCLUDE_ROOT = Path(__file__).parents[2]
PROJECT_ROOT = INCLUDE_ROOT.parent
_DECLARE_ROOT = Path(__file__).parent

_REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (SyntaxError, "write it as Python is written"),
    (ImportError, "mend the import"),
    (NameError, "import it, or mend its spelling"),
    (TypeError, "see in include/etl/declare/ which fields a declaration has"),
    (Exception, "mend this line"),
)


@dataclass(frozen=True)
class DeclarationFault:
    """What is wrong with a declaration.

    Parameters
    ----------
    name
        Name of the entity or the notice, as its file is called.
    location
        The file, from the root of the project, with the line if it is known.
    reason
        The field, what was found there, and what to do.
    """

    name: str
    location: str
    reason: str

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


def from_error(name: str, path: Path, error: Exception) -> DeclarationFault:
    """Return the fault of a declaration whose import failed; what failed may be a file that it imports."""
    reason = str(error)
    if not isinstance(error, DeclarationError):
        remedy = next(remedy for kind, remedy in _REMEDIES if isinstance(error, kind))
        text = error.msg if isinstance(error, SyntaxError) else reason
        reason = f"{type(error).__name__}: {text}; {remedy}"
    place, deepest = project_path(path), ""
    for file, line in _traceback_lines(error):
        if file == path.resolve():
            place, deepest = f"{project_path(path)}:{line}", ""
        elif file.is_relative_to(INCLUDE_ROOT) and not file.is_relative_to(_DECLARE_ROOT):
            deepest = f" (raised at {project_path(file)}:{line})"
    return DeclarationFault(name, place, reason + deepest)


def _traceback_lines(error: Exception) -> Iterator[tuple[Path, int]]:
    """Yield the files and lines that led to an error, the outermost first."""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith("<"):
            yield Path(frame.filename).resolve(), frame.lineno or 0
    if isinstance(error, SyntaxError) and error.filename:
        yield Path(error.filename).resolve(), error.lineno or 0


def project_path(path: Path) -> str:
    """Return a path from the root of the project, as people write it."""
    resolved = path.resolve()
    return str(resolved.relative_to(PROJECT_ROOT)) if resolved.is_relative_to(PROJECT_ROOT) else str(resolved)
