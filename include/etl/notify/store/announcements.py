"""Announcements: messages to explicitly listed users, stored with the run that sends them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from psycopg.types.json import Jsonb

from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("notify/announcements")


@dataclass(frozen=True)
class Announcement:
    """One message to a few listed users.

    Parameters
    ----------
    key
        Dedupe key: a user who was sent this announcement is not sent it again.
    users
        Ids of the recipients.
    values
        Values for the templates; JSON.
    """

    key: str
    users: Collection[int]
    values: Mapping[str, object] = field(default_factory=dict, repr=False)


def add(db: Connection, run_id: int, announcement: Announcement) -> None:
    """Store the announcement that a run sends."""
    values = {
        "run_id": run_id,
        "dedupe_key": announcement.key,
        "user_ids": sorted(set(announcement.users)),
        "template_values": Jsonb(dict(announcement.values)),
    }
    _SQL["add"].run(db, values)


def count_unlisted_users(db: Connection, run_id: int, users: Collection[int]) -> int:
    """Return how many of `users` are not recipients of an announced run; 0 if its list of users was purged."""
    return int(_SQL["count_unlisted_users"].scalar(db, {"run_id": run_id, "user_ids": list(users)}))
