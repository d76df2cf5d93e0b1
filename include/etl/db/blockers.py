"""Who holds the locks that a connection waits for.

Postgres tells this only while the connection waits, and only to another connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL

from etl.catalog_folder import SQL_ROOT
from etl.db.timeouts import Timeouts
from etl.declare.sql_file import read_statements

_TIMEOUT = timedelta(seconds=2)
_TIMEOUTS = Timeouts(lock=_TIMEOUT, idle_in_transaction=_TIMEOUT, statement=_TIMEOUT)
"""Bounds of the question itself, during which the answer to the connection that waits is not read."""
_CONNECT_SECONDS = 3
_MAX_QUERY_LENGTH = 200
_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?(?:\*/|$) )
    | (?P<kept> "(?:[^"]|"")*(?:"|$) | \$\d+ | (?![eE]')[A-Za-z_][\w$]* )
    | [eE]'(?:[^'\\]|\\.|'')*(?:'|$)            # a long statement is cut by the server, so any token may lack its end
    | '(?:[^']|'')*(?:'|$)
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)
    | \d[\w.]*
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Blocker:
    """A connection that holds a lock for which another waits.

    Parameters
    ----------
    pid
        Its process on the server; 0 for a prepared transaction.
    login, application, address
        Who it is; empty if unknown.
    state
        Such as `idle in transaction`; empty if unknown.
    open_for
        Age of its transaction; None if unknown.
    query
        The statement that it runs, or ran last.
    """

    pid: int
    login: str
    application: str
    address: str
    state: str
    open_for: timedelta | None
    query: str

    def __str__(self) -> str:
        """Return who it is and what it does, without the values in its statement."""
        if not self.pid:
            return "a prepared transaction; see pg_prepared_xacts"
        labels = {"user": self.login, "application": self.application, "from": self.address}
        who = ", ".join(f"{label} {value}" for label, value in labels.items() if value)
        parts = [f"pid {self.pid} ({who or 'user unknown'})", self.state]
        if self.open_for is not None:
            parts.append(f"its transaction open for {self.open_for.total_seconds():.0f} s")
        if self.query:
            parts.append(f"its query: {hide_values(self.query)}")
        return ", ".join(part for part in parts if part)


def find_blockers(pid: int, parameters: Mapping[str, Any]) -> list[Blocker]:
    """Return who holds the locks that a process of the server waits for, and who holds up those; the nearest first.

    Parameters
    ----------
    parameters
        Parameters for a connection of its own, as libpq names them.
    """
    query = SQL(read_statements(SQL_ROOT / "db/blockers.sql")["find_blockers"])
    bounds = {"connect_timeout": _CONNECT_SECONDS, "options": _TIMEOUTS.options()}
    with (
        psycopg.connect(**{**parameters, **bounds}, autocommit=True) as db,
        db.cursor(row_factory=class_row(Blocker)) as cursor,
    ):
        return cursor.execute(query, {"pid": pid}).fetchall()


def hide_values(query: str) -> str:
    """Return the beginning of a statement in one line, without its comments, and with `…` for each literal."""
    text = " ".join(_TOKEN.sub(_hide, query).split())
    return text if len(text) <= _MAX_QUERY_LENGTH else f"{text[:_MAX_QUERY_LENGTH]}…"


def _hide(match: re.Match[str]) -> str:
    if match["kept"] is not None:
        return match["kept"]
    return "…" if match["comment"] is None else " "
