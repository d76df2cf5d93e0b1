"""Who a run of a notice is for, read a page at a time by the statement of its notice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import dict_row

from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.stores.notice_runs import NoticeRun
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

_NEEDED = ("position", "user_id", "dedupe_key")


class RecipientsIncomplete(PermanentError):
    """The statement that reads recipients does not tell what sending needs."""

    def __init__(self, notice: str, missing: str) -> None:
        super().__init__(
            f"include/sql/notices/{notice}.sql: `recipients` returns no column {missing}; let it return "
            f"{', '.join(_NEEDED)}, ordered by position, and what the templates name."
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


def read(warehouse: Warehouse, notice: Notice, run: NoticeRun, *, after: int, stop: int, limit: int) -> list[Recipient]:
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
    values = {**run.values, "after": after, "stop": stop, "limit": limit}
    with warehouse.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement(run.audience, "recipients"), values)
        columns = {column.name for column in cursor.description or ()}
        if missing := next((name for name in _NEEDED if name not in columns), None):
            raise RecipientsIncomplete(notice.name, missing)
        rows = cursor.fetchall()
    if run.announced:
        rows = [{**row["said"], **row} for row in rows]
    shared = {**run.parameters, "period": run.period, "as_of": run.as_of}
    return [Recipient(row["position"], row["user_id"], row["dedupe_key"], {**shared, **row}) for row in rows]
