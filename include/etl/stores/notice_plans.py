"""Runs of notices as they are planned: added once for a period, and cut into chunks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import scalar_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from etl.declare.notice import Notice
from etl.stores import notice_runs
from etl.stores.notice_runs import NoticeRun
from etl.stores.statements import spliced, statement
from etl.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Announcement:
    """Something that is told to a few users at once.

    Parameters
    ----------
    key
        Names it: whoever was told of it is not told again.
    users
        Whom to tell, by their ids.
    values
        What the templates may name; JSON.
    """

    key: str
    users: Collection[int]
    values: Mapping[str, object] = field(default_factory=dict, repr=False)


def add(
    warehouse: Warehouse,
    notice: Notice,
    period: str,
    *,
    trigger: str,
    as_of: datetime,
    parameters: Mapping[str, object],
    announcement: Announcement | None = None,
) -> NoticeRun | None:
    """Add the run of a period; None if there is one already.

    Parameters
    ----------
    announcement
        Whom it is for; None for those whom the statements of its notice find.
    """
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        (notice_id,) = cursor.execute(_runs("notice"), {"notice": notice.name}).fetchall()
        values = {
            "notice_id": notice_id,
            "period": period,
            "trigger": trigger,
            "as_of": as_of,
            "expires_at": as_of + notice.expiry if notice.expiry else None,
            "parameters": Jsonb(dict(parameters)),
            "pace": notice.pace,
        }
        run_id = cursor.execute(_runs("add"), values).fetchone()
    if run_id is None:
        return None
    if announcement is not None:
        told = {"users": sorted(set(announcement.users)), "said": Jsonb(dict(announcement.values))}
        warehouse.execute(statement("stores/announcements", "add"), {"run_id": run_id, "key": announcement.key, **told})
    return notice_runs.find(warehouse, run_id)


def unnamed(warehouse: Warehouse, run_id: int, users: Collection[int]) -> int:
    """Return how many of some users a run that was announced is not for."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": run_id, "users": list(users)}
        (count,) = cursor.execute(statement("stores/announcements", "unnamed"), values).fetchall()
    return int(count)


def cut(warehouse: Warehouse, notice: Notice, run: NoticeRun) -> dict[int, int]:
    """Cut the audience of a run into chunks.

    Returns
    -------
    dict
        Ordinal → recipients; empty if there is nobody.
    """
    text = spliced(_runs("cut"), bounds=statement(run.audience, "bounds"))
    sizes = {"chunk_size": notice.chunk_size, "max_chunks": notice.max_chunks}
    with warehouse.cursor() as cursor:
        chunks: dict[int, int] = dict(cursor.execute(text, {**run.values, **sizes}).fetchall())
        cursor.execute(_runs("planned"), {"run_id": run.run_id, "recipients": sum(chunks.values())})
    return chunks


def _runs(name: str) -> SQL:
    return statement("stores/notice_runs", name)
