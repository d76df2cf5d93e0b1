"""Who a run of a notice is for, read a page at a time by the statement of its notice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row, scalar_row

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.store.runs import NoticeRun

_REQUIRED_COLUMNS = ("position", "user_id", "dedupe_key")
_MIN_POSITION, _MAX_POSITION = -(2**63), 2**63 - 1


class RecipientsIncomplete(PermanentError):
    """The statement that reads recipients does not tell what sending needs."""

    def __init__(self, notice: str, missing: str) -> None:
        super().__init__(
            f"include/sql/notices/{notice}.sql: `recipients` returns no column {missing}; let it return "
            f"{', '.join(_REQUIRED_COLUMNS)}, ordered by position, and what the templates name."
        )


@dataclass(frozen=True)
class Recipient:
    """Somebody to be told.

    Parameters
    ----------
    position
        Their place in the audience, by which it is walked; no two have the same.
    user_id
        Who they are.
    dedupe_key
        What they are told of; they are told once of each.
    values
        What the templates may name.
    """

    position: int
    user_id: int
    dedupe_key: str
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class User:
    """What is known of somebody who may be a recipient.

    Parameters
    ----------
    created_at
        When they were added.
    provider_accounts
        State → how many of their logins are in it.
    """

    created_at: datetime
    provider_accounts: Mapping[str, int]


def read_page(db: Connection, notice: Notice, run: NoticeRun, *, after: int, stop: int, limit: int) -> list[Recipient]:
    """Return the next recipients of a run, in order.

    Parameters
    ----------
    after, stop
        Bounds of their positions, both excluded.
    limit
        Most recipients.

    Raises
    ------
    RecipientsIncomplete
        If the notice's statement lacks a column.
    """
    values = {**run.sql_parameters, "after": after, "stop": stop, "limit": limit}
    with db.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement(run.statement_file, "recipients"), values)
        columns = {column.name for column in cursor.description or ()}
        if missing := next((name for name in _REQUIRED_COLUMNS if name not in columns), None):
            raise RecipientsIncomplete(notice.name, missing)
        rows = cursor.fetchall()
    if run.is_announced:
        rows = [{**row["said"], **row} for row in rows]
    shared = {**run.parameters, "period": run.period, "as_of": run.as_of}
    return [Recipient(row["position"], row["user_id"], row["dedupe_key"], {**shared, **row}) for row in rows]


def find_positions(db: Connection, notice: Notice, run: NoticeRun, user_id: int) -> list[int]:
    """Return where a user stands in an audience, the last position first; it takes half a second for a million users.

    Raises
    ------
    RecipientsIncomplete
        If the notice's statement lacks a column.
    """
    recipients = statement(run.statement_file, "recipients")
    read_page(db, notice, run, after=_MAX_POSITION - 1, stop=_MAX_POSITION, limit=1)
    with db.cursor(row_factory=scalar_row) as cursor:
        text = statement("notify/recipients", "find_positions").substitute(recipients=recipients)
        return cursor.execute(text, {**unbounded_parameters(run), "user_id": user_id}).fetchall()


def count(db: Connection, run: NoticeRun) -> int:
    """Return how many recipients a run would have."""
    bounds = statement(run.statement_file, "bounds")
    with db.cursor(row_factory=scalar_row) as cursor:
        (recipients,) = cursor.execute(
            statement("notify/recipients", "count").substitute(bounds=bounds), run.sql_parameters
        )
    return int(recipients)


def find_user(db: Connection, user_id: int) -> User | None:
    """Return a user, if there is one of this id."""
    with db.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(statement("notify/recipients", "find_user"), {"user_id": user_id}).fetchone()


def unbounded_parameters(run: NoticeRun) -> dict[str, Any]:
    """Return what `recipients` is given to read a whole audience at once, within the database."""
    return {**run.sql_parameters, "after": _MIN_POSITION, "stop": _MAX_POSITION, "limit": None}
