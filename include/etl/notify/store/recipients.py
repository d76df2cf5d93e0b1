"""Recipients of a run, read a page at a time by the SQL of its notice."""

from __future__ import annotations

from collections import Counter
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
from etl.notify.audience.rules import AudienceInvalid, check_page, naming_errors_of
from etl.notify.store.runs import NoticeRun
from etl.safe_text import Ours

_SQL = StatementFile("notify/recipients")
MIN_POSITION, MAX_POSITION = -(2**63), 2**63 - 1
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
    locale, time_zone
        As the user named them, which may be unknown names; None if they named none.
    """

    position: int
    user_id: int
    dedupe_key: str
    values: Mapping[str, Any] = field(repr=False)
    locale: str | None = None
    time_zone: str | None = None


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
        Maximum number of recipients; exceeded only to return all that share the last position, since the next page
        begins after it.

    Raises
    ------
    RecipientsIncomplete
        If the notice's statement lacks a column.
    AudienceInvalid
        If the statement fails, or returns what would lose or repeat recipients.
    """
    query = statement(run.statement_file, "recipients")
    page = _read(db, notice, run, query, {"after": after, "stop": stop, "limit": limit + 1})
    if len(page) <= limit:
        return page
    page, following = page[:limit], page[limit]
    last_position = page[-1].position
    if following.position != last_position:
        return page
    before = [recipient for recipient in page if recipient.position != last_position]
    return [*before, *read_at(db, notice, run, [last_position])]


def read_at(db: Connection, notice: Notice, run: NoticeRun, positions: Collection[int]) -> list[Recipient]:
    """Return the recipients of a run at given positions, in any order; several may share one.

    Raises
    ------
    AudienceInvalid
        If the statement fails, or too many share a position.
    """
    query = statement("notify/recipients", "at_positions").substitute(recipients=_at_wanted_position(run))
    found = _read(db, notice, run, query, {"positions": list(positions), "limit": _MAX_RECIPIENTS_AT_POSITION})
    position, count = next(iter(Counter(each.position for each in found).most_common(1)), (0, 0))
    if count >= _MAX_RECIPIENTS_AT_POSITION:
        raise AudienceInvalid(
            run.statement_file,
            "recipients",
            f"returned {count} or more rows with position {position}",
            "let positions differ, as those of users, accounts or payments do",
        )
    return found


def _at_wanted_position(run: NoticeRun) -> Statement:
    """Return the statement of the recipients of a run, with the bounds of one position as expressions, not values."""
    text = statement(run.statement_file, "recipients").as_string(None)
    for bound, expression in (("after", "wanted_position - 1"), ("stop", "wanted_position + 1")):
        text = text.replace(f"%({bound})s", f"(wanted_recipients.{expression})")
    return Statement(text)


def _read(
    db: Connection, notice: Notice, run: NoticeRun, query: Statement, values: Mapping[str, object]
) -> list[Recipient]:
    file = run.statement_file
    with naming_errors_of(file, "recipients"), db.cursor(row_factory=dict_row) as cursor:
        cursor.execute(query, {**run.sql_parameters, **values})
        columns = {column.name for column in cursor.description or ()}
        if missing := next((name for name in RECIPIENT_COLUMNS if name not in columns), None):
            raise RecipientsIncomplete(notice.name, missing)
        rows = cursor.fetchall()
    match values:
        case {"after": int(after), "stop": int(stop), "limit": int(limit)}:
            check_page(file, rows, after=after, stop=stop, limit=limit)
        case _:
            for row in rows:
                check_page(file, [row], after=MIN_POSITION - 1, stop=MAX_POSITION + 1)
    if run.is_announced:
        rows = [{**row["said"], **row} for row in rows]
    # An operator wrote the parameters; what the rows hold was named by others.
    parameters = {name: Ours(value) if isinstance(value, str) else value for name, value in run.parameters.items()}
    shared_values = {**parameters, "period": run.period, "as_of": run.as_of}
    preferences = _read_preferences(db, {row["user_id"] for row in rows})
    return [
        Recipient(
            row["position"],
            row["user_id"],
            row["dedupe_key"],
            {**shared_values, **row},
            *preferences.get(row["user_id"], (None, None)),
        )
        for row in rows
    ]


def sample_positions(db: Connection, run: NoticeRun, *, size: int) -> list[int]:
    """Return positions from all over an audience, at most `size`, and one more for each locale of its users.

    This takes seconds for a million users.
    """
    query = _SQL["sample_positions"].substitute(recipients=statement(run.statement_file, "recipients"))
    return query.scalars(db, {**unbounded_parameters(run), "size": size})


def find_positions(db: Connection, notice: Notice, run: NoticeRun, user_id: int) -> list[int]:
    """Return the positions of a user in an audience, the last first; this takes half a second for a million users.

    Raises
    ------
    RecipientsIncomplete
        If the notice's statement lacks a column.
    """
    # An empty page, read only to check the columns.
    read_page(db, notice, run, after=MAX_POSITION - 1, stop=MAX_POSITION, limit=1)
    query = _SQL["find_positions"].substitute(recipients=statement(run.statement_file, "recipients"))
    with naming_errors_of(run.statement_file, "recipients"):
        return query.scalars(db, {**unbounded_parameters(run), "user_id": user_id})


def count(db: Connection, run: NoticeRun) -> int:
    """Return how many recipients a run would have."""
    query = _SQL["count"].substitute(bounds=statement(run.statement_file, "bounds"))
    with naming_errors_of(run.statement_file, "bounds"):
        return int(query.scalar(db, run.sql_parameters))


def count_between(db: Connection, run: NoticeRun, start: int, stop: int) -> int:
    """Return how many recipients have positions in a half-open range; their values are not computed."""
    query = _SQL["count_recipients"].substitute(recipients=statement(run.statement_file, "recipients"))
    with naming_errors_of(run.statement_file, "recipients"):
        return int(query.scalar(db, {**run.sql_parameters, "after": start - 1, "stop": stop, "limit": None}))


def find_user(db: Connection, user_id: int) -> User | None:
    """Return a user, or None if there is none with this id."""
    return _SQL["find_user"].first(db, User, {"user_id": user_id})


def unbounded_parameters(run: NoticeRun) -> dict[str, Any]:
    """Return the parameters with which `recipients` reads a whole audience at once, within the database."""
    return {**run.sql_parameters, "after": MIN_POSITION, "stop": MAX_POSITION, "limit": None}


def _read_preferences(db: Connection, user_ids: Collection[int]) -> dict[int, tuple[str | None, str | None]]:
    """Return the locale and time zone of users who named one."""
    rows = _SQL["read_preferences"].rows(db, {"user_ids": list(user_ids)}) if user_ids else []
    return {user_id: (locale, time_zone) for user_id, locale, time_zone in rows}
