"""Builds the help of commands: their docstring, their options, examples, and what their JSON holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead, as described below.")]
"""Option of every command that prints a list or a table."""

_Function = TypeVar("_Function", bound=Callable[..., None])

_EPILOGS: dict[Callable[..., None], str] = {}


def examples(*lines: str, json: str = "") -> Callable[[_Function], _Function]:
    """Return a decorator that adds examples to the help of a command.

    Parameters
    ----------
    lines
        Commands as a user types them, short enough that a terminal of 80 columns does not wrap them.
    json
        What `--json` prints, as the end of a sentence; empty if the command does not have this option.
    """

    def decorate(function: _Function) -> _Function:
        _EPILOGS[function] = format_epilog(*lines, json=json)
        return function

    return decorate


def format_epilog(*lines: str, json: str = "") -> str:
    """Return the paragraphs below the options of a command: examples, and what `--json` prints.

    It begins with a line break: Typer removes the indentation that all lines after the first have in common.
    """
    paragraphs = ["\n".join(["", "Examples:", *(f"  {line}" for line in lines)])]
    if json:
        paragraphs.append(f"With --json it prints {json}.")
    return "\n\n".join(paragraphs)


def add_command(app: typer.Typer, function: Callable[..., None], *, name: str | None = None, panel: str) -> None:
    """Add a function to an app as a command; its help is its docstring, and what `examples` adds to it.

    Parameters
    ----------
    name
        Name of the command; that of the function if None.
    panel
        Title under which the help of the app lists the command.
    """
    app.command(name, help=_join_lines(function), epilog=_EPILOGS[function], rich_help_panel=panel)(function)


def _join_lines(function: Callable[..., None]) -> str:
    """Return the docstring of a function with one line per paragraph, which a terminal wraps at its own width."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
