"""Announcements: what is told to a few named users at once, as the run that tells it keeps it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from etl.db.connection import Connection
from etl.db.statements import statement


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


def add(db: Connection, run_id: int, announcement: Announcement) -> None:
    """Add what a run announces, and to whom."""
    db.execute(
        statement("notify/announcements", "add"),
        {
            "run_id": run_id,
            "key": announcement.key,
            "users": sorted(set(announcement.users)),
            "said": Jsonb(dict(announcement.values)),
        },
    )


def count_unlisted_users(db: Connection, run_id: int, users: Collection[int]) -> int:
    """Return how many of some users a run that was announced is not for."""
    with db.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": run_id, "users": list(users)}
        (count,) = cursor.execute(statement("notify/announcements", "count_unlisted_users"), values).fetchall()
    return int(count)
