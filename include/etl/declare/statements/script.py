"""Statements as Postgres gets them, each of whose characters is known by file and line."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from etl.declare.sql_file import StatementText
from etl.sql_syntax import SqlInvalid, number_parameters

_PART = re.compile(r"\{(\w+)\}")

_Piece = tuple[str, StatementText, int]
"""A text, the statement that it comes from, and the index of its first character there."""


@dataclass(frozen=True)
class Script:
    """A statement with its parts in it, and with `$1` in place of its first parameter.

    Parameters
    ----------
    text
        The statement.
    parameters
        Names of its parameters, by their number.
    pieces
        The pieces that it consists of.
    """

    text: str
    parameters: tuple[str, ...]
    pieces: tuple[_Piece, ...]

    def locate(self, position: int) -> str:
        """Return file and line of the character at an index."""
        return _locate(self.pieces, position)


class ScriptInvalid(ValueError):
    """A statement has a percent sign that psycopg would refuse."""

    def __init__(self, location: str, message: str) -> None:
        super().__init__(message)
        self.location = location


def assemble(
    name: str,
    statements: Mapping[str, StatementText],
    *,
    parts: Mapping[str, str] | None = None,
    has_values: bool = True,
) -> Script:
    """Return a statement of a file, with the statements of the file that it names in braces.

    Parameters
    ----------
    parts
        Further texts by name, which take the place of a name in braces.
    has_values
        Whether it is run with values: else a percent sign stands for itself.

    Raises
    ------
    ScriptInvalid
        If it has a percent sign that psycopg would refuse.
    """
    pieces = tuple(_expand(name, statements, parts or {}, within=()))
    text = "".join(piece for piece, _, _ in pieces)
    if not has_values:
        return Script(text, (), pieces)
    try:
        return Script(*number_parameters(text), pieces)
    except SqlInvalid as error:
        raise ScriptInvalid(_locate(pieces, error.position), error.message) from None


def named_parts(statement: StatementText) -> frozenset[str]:
    """Return the names that a statement has in braces."""
    return frozenset(_PART.findall(statement.text))


def _expand(
    name: str, statements: Mapping[str, StatementText], parts: Mapping[str, str], *, within: tuple[str, ...]
) -> Iterator[_Piece]:
    statement = statements[name]
    text = statement.text.rstrip()
    done = 0
    if within:  # As a part of another statement, without the semicolon; the line break ends a comment in its last line.
        text = f"{text.removesuffix(';')}\n"
    for place in _PART.finditer(text):
        is_statement = place[1] in statements and place[1] not in (*within, name)
        if not is_statement and place[1] not in parts:
            continue
        yield text[done : place.start()], statement, done
        if is_statement:
            yield from _expand(place[1], statements, parts, within=(*within, name))
        else:
            yield parts[place[1]], statement, place.start()
        done = place.end()
    yield text[done:], statement, done


def _locate(pieces: tuple[_Piece, ...], position: int) -> str:
    starts, start = [], 0
    for text, _, _ in pieces:
        starts.append(start)
        start += len(text)
    index = max(bisect_right(starts, position) - 1, 0)
    _, statement, first = pieces[index]
    return statement.locate(first + position - starts[index])
