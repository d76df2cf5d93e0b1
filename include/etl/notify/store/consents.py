"""Users' consents to categories of notices; they are read again before each message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.errors import PermanentError

_SQL = StatementFile("notify/consents")


class UserMissing(PermanentError):
    """No user has this reference."""

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"there is no user {reference!r}; give the id that the user has in the application and that `link` was "
            "called with."
        )


@dataclass(frozen=True)
class ConsentRecord:
    """A user's choice about a category.

    Parameters
    ----------
    category
        Category of notices.
    granted
        Whether the user accepts its notices.
    changed_at
        When the user last changed this choice.
    """

    category: str
    granted: bool
    changed_at: datetime


def refuse(db: Connection, user_id: int, category: str) -> bool:
    """Record that a user refuses a category; return False if that was recorded before, or the user does not exist."""
    return _save(db, user_id, category, granted=False)


def grant(db: Connection, user_id: int, category: str) -> bool:
    """Record that a user accepts a category; return False if that was recorded before, or the user does not exist."""
    return _save(db, user_id, category, granted=True)


def find_user_id(db: Connection, reference: str) -> int:
    """Return the `user_id` of a user.

    Parameters
    ----------
    reference
        The user's id in the application that Sluice serves.

    Raises
    ------
    UserMissing
        If there is no such user.
    """
    user_ids: list[int] = _SQL["find_user_id"].scalars(db, {"reference": reference})
    if not user_ids:
        raise UserMissing(reference)
    return user_ids[0]


def list_by_user(db: Connection, user_id: int) -> list[ConsentRecord]:
    """Return all choices of a user, ordered by category."""
    return _SQL["list_by_user"].objects(db, ConsentRecord, {"user_id": user_id})


def _save(db: Connection, user_id: int, category: str, *, granted: bool) -> bool:
    return bool(_SQL["save"].run(db, {"user_id": user_id, "category": category, "granted": granted}))
