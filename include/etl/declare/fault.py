"""Faults: why what a file declares is left out, while the others go on."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etl.errors import DeclarationError

INCLUDE = Path(__file__).parents[2]
PROJECT = INCLUDE.parent
_LANGUAGE = Path(__file__).parent

_REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (SyntaxError, "write it as Python is written"),
    (ImportError, "mend the import"),
    (NameError, "import it, or mend its spelling"),
    (TypeError, "see in include/etl/declare/ which fields a declaration has"),
    (Exception, "mend this line"),
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a declaration.

    Parameters
    ----------
    name
        Name of the entity or the notice, as its file is called.
    place
        The file, from the root of the project, with the line if it is known.
    reason
        The field, what was found there, and what to do.
    """

    name: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


def of_error(name: str, path: Path, error: Exception) -> Fault:
    """Return the fault of a declaration whose import failed; what failed may be a file that it imports."""
    reason = str(error)
    if not isinstance(error, DeclarationError):
        remedy = next(remedy for kind, remedy in _REMEDIES if isinstance(error, kind))
        text = error.msg if isinstance(error, SyntaxError) else reason
        reason = f"{type(error).__name__}: {text}; {remedy}"
    place, deepest = shown(path), ""
    for file, line in _lines(error):
        if file == path.resolve():
            place, deepest = f"{shown(path)}:{line}", ""
        elif file.is_relative_to(INCLUDE) and not file.is_relative_to(_LANGUAGE):
            deepest = f" (raised at {shown(file)}:{line})"
    return Fault(name, place, reason + deepest)


def _lines(error: Exception) -> Iterator[tuple[Path, int]]:
    """Yield the files and lines that led to an error, the outermost first."""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith("<"):
            yield Path(frame.filename).resolve(), frame.lineno or 0
    if isinstance(error, SyntaxError) and error.filename:
        yield Path(error.filename).resolve(), error.lineno or 0


def shown(path: Path) -> str:
    """Return a path from the root of the project, as people write it."""
    resolved = path.resolve()
    return str(resolved.relative_to(PROJECT)) if resolved.is_relative_to(PROJECT) else str(resolved)
