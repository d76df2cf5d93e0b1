"""Commands that messages print can be typed as they are."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.cli.app import app

ROOT = Path(__file__).parents[3]
SOURCES = [path for suffix in ("py", "jinja") for path in sorted((ROOT / "include/etl").rglob(f"*.{suffix}"))]
COMMAND = re.compile(r"`(sluice (?!link`)[^`]+)`")
"""A command in a text; `sluice link` is only named, where it is up to the user of a login."""

VALUES = {"ENTITY": TRANSACTIONS.name, "entity": TRANSACTIONS.name, "{run}": "1"}
"""Values of placeholders; all others are numbers, which are also texts."""


def printed_commands() -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each command that the program prints; docstrings only name commands."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".py":
            yield from ((path.name, found) for found in COMMAND.findall(text))
            continue
        for line, message in _texts(ast.parse(text)):
            yield from ((f"{path.relative_to(ROOT)}:{line}", found) for found in COMMAND.findall(message))


def _texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else _placeholder(part) for part in node.values)
        yield node.lineno, "".join(map(str, parts))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    elif not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        for child in ast.iter_child_nodes(node):
            yield from _texts(child)


def _placeholder(part: ast.AST) -> str:
    """Return a value for what is inserted into a text: an entity's name where the expression says so, else a number."""
    expression = ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ""
    return VALUES["ENTITY"] if re.search(r"\bentity\b", expression) else "1"


def parse(command: str) -> None:
    """Parse a command as the command line does, and do not run it.

    Raises
    ------
    UsageError
        If it is wrong.
    """
    words = [VALUES.get(word, "1" if re.fullmatch(r"[A-Z]+|%[sd]", word) else word) for word in shlex.split(command)]
    name, *rest = words
    found: Any = get_command(app)
    context = None
    while hasattr(found, "resolve_command"):
        context = found.context_class(found, info_name=name, parent=context)
        if not rest:
            if not found.invoke_without_command:
                context.fail(f"{command!r} names no command")
            return
        name, found, rest = found.resolve_command(context, rest)
    found.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("place", "command"), sorted(set(printed_commands())))
def test_a_printed_command_can_be_typed(place: str, command: str) -> None:
    parse(command)


@pytest.mark.parametrize(
    "command", ["sluice", "sluice quarantine", "sluice quarantine accept", "sluice logins stop a", "sluice nothing"]
)
def test_an_incomplete_command_does_not_parse(command: str) -> None:
    with pytest.raises(Exception, match=r"names no command|Missing parameter|valid integer|No such command"):
        parse(command)
