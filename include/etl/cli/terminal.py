"""Prints lines, tables, JSON and progress bars; text from outside cannot control the terminal.

Text that a provider or a user wrote could otherwise move the cursor, set a title or reverse the writing direction.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

_CONVERSIONS: dict[Any, Callable[[Any], object]] = {
    Mapping: dict,
    Enum: lambda member: member.value,
    timedelta: lambda duration: duration.total_seconds(),
    date: lambda instant: instant.isoformat(),
    Decimal: lambda number: f"{number:f}",
    Callable: lambda function: f"{function.__module__}.{function.__qualname__}",
}
"""Type → function that returns what JSON holds in place of a value; it converts a `datetime` as a `date`."""

_MAX_LENGTH = 200
_TABLE_WIDTH = 10_000
"""Columns: more than any table has."""


def print_line(text: str) -> None:
    """Print a line of text, which may come from outside, with its unprintable characters escaped."""
    typer.echo(escape_unprintable(text))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = (), title: str | None = None
) -> None:
    """Print a table; text is escaped, and whole numbers get thousands separators.

    No cell is ever wrapped or cut: what is wider than the terminal continues on its next line, as in other tools.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells in the order of the columns.
    numbers
        Headings of the columns that are aligned right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in columns:
        table.add_column(heading, justify="right" if heading in numbers else "left", no_wrap=True)
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else escape_unprintable(str(cell)) for cell in row)
        table.add_row(*map(Text, cells))
    console = open_console()
    console.width = _TABLE_WIDTH
    console.print(table, soft_wrap=True)


def print_json(document: object, *, indent: int | None = None) -> None:
    """Print a document as JSON, in one line unless `indent` is given.

    Strings are escaped to ASCII, since they may hold control characters. Dataclasses become objects, instants and
    dates ISO 8601, durations seconds, decimals strings (which keep their exact value), functions their names.
    """
    typer.echo(json.dumps(document, default=_to_jsonable, indent=indent))


def open_console() -> Console:
    """Return a console that prints text as it is: without markup, emoji codes and highlighting."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def track_progress(ids: Sequence[int], description: str) -> Iterator[int]:
    """Yield ids, and show on the error stream how many of them are done, if that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield from bar.track(ids, description=description)


def escape_unprintable(text: str) -> str:
    """Return text with JSON escapes in place of unprintable characters; line breaks stay."""
    return "".join(
        character if character.isprintable() or character == "\n" else _escape(character) for character in text
    )


def truncate(text: str) -> str:
    """Return text, or the first 200 characters and the length of a longer one."""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}… ({len(text):,} characters)"


def _escape(character: str) -> str:
    r"""Return the JSON escapes of a character; one beyond the Basic Multilingual Plane has two (`\ud83d\ude00`)."""
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _to_jsonable(value: Any) -> Any:  # noqa: ANN401 - any value of a document
    """Return what JSON holds in place of a value that it has no form for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for value_type, convert in _CONVERSIONS.items():
        if isinstance(value, value_type):
            return convert(value)
    raise TypeError(f"{type(value).__name__} cannot be printed as JSON")
