"""Recipients of a run, read a page at a time by the SQL of its notice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile, path_of, statement
from etl.declare.fault import project_path
from etl.declare.notice import RECIPIENT_COLUMNS, Notice
from etl.errors import PermanentError
from etl.notify.store.runs import NoticeRun

_SQL = StatementFile("notify/recipients")
_MIN_POSITION, _MAX_POSITION = -(2**63), 2**63 - 1
_MAX_RECIPIENTS_AT_POSITION = 1_000


class RecipientsIncomplete(PermanentError):
    """The statement `recipients` of a notice lacks a column that sending needs."""

    def __init__(self, notice: str, missing: str) -> None:
        super().__init__(
            f"{project_path(path_of(f'notices/{notice}'))}: `recipients` returns no column {missing}; let it return "
            f"{', '.join(RECIPIENT_COLUMNS)}, ordered by position, and the values that the templates use."
        )


@dataclass(frozen=True)
class Recipient:
    """A user who is to get a message.

    Parameters
    ----------
    position
        Unique position in the audience, by which it is paged.
    user_id
        The user.
    dedupe_key
        A user gets one message of a notice over each channel for each key.
    values
        Values for the templates.
    """

    position: int
    user_id: int
    dedupe_key: str
    values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class User:
    """A user who may be a recipient.

    Parameters
    ----------
    created_at
        When the user was added.
    provider_accounts
        State → number of the user's provider accounts in that state.
    """

    created_at: datetime
    provider_accounts: Mapping[str, int]


def read_page(db: Connection, notice: Notice, run: NoticeRun, *, after: int, stop: int, limit: int) -> list[Recipient]:
    """Return the next recipients of a run, ordered by position.

    Parameters
    ----------
    after, stop
        Bounds of the positions, both exclusive.
    limit
        Maximum number of recipients.

    Raises
    ------
    RecipientsIncomplete
        If the notice's statement lacks a column.
    """
    query = statement(run.statement_file, "recipients")
    return _read(db, notice, run, query, {"after": after, "stop": stop, "limit": limit})


def read_at(db: Connection, notice: Notice, run: NoticeRun, positions: Collection[int]) -> list[Recipient]:
    """Return the recipients of a run at given positions, in any order; several may share one."""
    query = statement("notify/recipients", "at_positions").substitute(recipients=_at_wanted_position(run))
    return _read(db, notice, run, query, {"positions": list(positions), "limit": _MAX_RECIPIENTS_AT_POSITION})


def _at_wanted_position(run: NoticeRun) -> Statement:
    """Return the statement of the recipients of a run, with the bounds of one position as expressions, not values."""
    text = statement(run.statement_file, "recipients").as_string(None)
    for bound, expression in (("after", "wanted_position - 1"), ("stop", "wanted_position + 1")):
        text = text.replace(f"%({bound})s", f"(wanted_recipients.{expression})")
    return Statement(text)


def _read(
    db: Connection, notice: Notice, run: NoticeRun, query: Statement, values: Mapping[str, object]
) -> list[Recipient]:
    with db.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query, {**run.sql_parameters, **values})
        columns = {column.name for column in cursor.description or ()}
        if missing := next((name for name in RECIPIENT_COLUMNS if name not in columns), None):
            raise RecipientsIncomplete(notice.name, missing)
        rows = cursor.fetchall()
    if run.is_announced:
        rows = [{**row["said"], **row} for row in rows]
    shared_values = {**run.parameters, "period": run.period, "as_of": run.as_of}
    return [Recipient(row["position"], row["user_id"], row["dedupe_key"], {**shared_values, **row}) for row in rows]


def find_positions(db: Connection, notice: Notice, run: NoticeRun, user_id: int) -> list[int]:
    """Return the positions of a user in an audience, the last first; this takes half a second for a million users.

    Raises
    ------
    RecipientsIncomplete
        If the notice's statement lacks a column.
    """
    # An empty page, read only to check the columns.
    read_page(db, notice, run, after=_MAX_POSITION - 1, stop=_MAX_POSITION, limit=1)
    query = _SQL["find_positions"].substitute(recipients=statement(run.statement_file, "recipients"))
    return query.scalars(db, {**unbounded_parameters(run), "user_id": user_id})


def count(db: Connection, run: NoticeRun) -> int:
    """Return how many recipients a run would have."""
    query = _SQL["count"].substitute(bounds=statement(run.statement_file, "bounds"))
    return int(query.scalar(db, run.sql_parameters))


def find_user(db: Connection, user_id: int) -> User | None:
    """Return a user, or None if there is none with this id."""
    return _SQL["find_user"].first(db, User, {"user_id": user_id})


def unbounded_parameters(run: NoticeRun) -> dict[str, Any]:
    """Return the parameters with which `recipients` reads a whole audience at once, within the database."""
    return {**run.sql_parameters, "after": _MIN_POSITION, "stop": _MAX_POSITION, "limit": None}
