"""Rules of the statements that select an audience; a violation names the statement, its rows, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psycopg

from etl.db.statements import path_of
from etl.declare.fault import project_path
from etl.errors import PermanentError

_USER_IDS = range(1, 2**63)


class AudienceInvalid(PermanentError):
    """A statement of an audience cannot be run, or returns what would lose or repeat recipients.

    Parameters
    ----------
    file
        The statement's file below `include/sql/`.
    name
        The statement.
    found
        What is wrong, with the positions or users that show it.
    remedy
        What to change.
    """

    def __init__(self, file: str, name: str, found: str, remedy: str) -> None:
        super().__init__(
            f"{project_path(path_of(file))}: `{name}` {found}; {remedy}. Nothing that it returned was sent."
        )


@contextmanager
def naming_errors_of(file: str, name: str) -> Iterator[None]:
    """Raise `AudienceInvalid` where Postgres refuses a statement, or cannot compute its rows."""
    try:
        yield
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        found = f"fails: {error}"
        raise AudienceInvalid(
            file, name, found, "correct it, or run `sluice migrate` if the schema is older"
        ) from error


def check_page(
    file: str, rows: Sequence[Mapping[str, Any]], *, after: int, stop: int, limit: int | None = None
) -> None:
    """Refuse a page of recipients by which the walk of an audience would lose or repeat some.

    Parameters
    ----------
    after, stop
        Bounds of the positions, both exclusive.
    limit
        Maximum number of rows; None if there was none.

    Raises
    ------
    AudienceInvalid
        If a value is missing or of another type, or the page ignores its bounds, its limit or the order of positions.
    """

    def refuse(found: str, remedy: str) -> None:
        raise AudienceInvalid(file, "recipients", found, remedy)

    if limit is not None and len(rows) > limit:
        refuse(f"returned {len(rows)} rows where at most {limit} were asked for", "let it end with `limit %(limit)s`")
    for row in rows:
        position, user, key = row["position"], row["user_id"], row["dedupe_key"]
        if type(position) is not int:
            refuse(
                f"returned a position that is {_kind(position)}",
                "let positions be whole numbers that are never null, such as `u.user_id as position`",
            )
        if type(user) is not int or user not in _USER_IDS:
            refuse(
                f"returned a user_id at position {position} that is {_kind(user)}",
                "let it be the user_id of a row of core.users",
            )
        if not isinstance(key, str) or not key:
            refuse(
                f"returned a dedupe_key of user {user} at position {position} that is {_kind(key)}",
                "let it be text that is never null or empty, such as `%(period)s::text as dedupe_key`",
            )
        if not after < position < stop:
            bound = f"after %(after)s = {after}" if position <= after else f"before %(stop)s = {stop}"
            refuse(
                f"returned position {position} (user {user}), which is not {bound}",
                "select `where … > %(after)s and … < %(stop)s`, by the position that it returns",
            )
    for earlier, later in pairwise(rows):
        if later["position"] < earlier["position"]:
            refuse(
                f"returned position {later['position']} (user {later['user_id']}) after {earlier['position']} "
                f"(user {earlier['user_id']})",
                "let it be ordered by position, ascending",
            )


def _kind(value: object) -> str:
    """Return what a value is, but not the value, which may be anything that a statement selects."""
    if value is None:
        return "null"
    if isinstance(value, int):
        return f"{value}"
    return "empty" if value == "" else f"of type {type(value).__name__}"
