"""What users said about categories of notices; it is read again before each message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.errors import PermanentError


class UserMissing(PermanentError):
    """No user has this id."""

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"there is no user {reference!r}; give the user's id in the application, as `link` was given it."
        )


@dataclass(frozen=True)
class ConsentRecord:
    """What a user said about a category.

    Parameters
    ----------
    category
        Of which notices.
    granted
        Whether they want them.
    changed_at
        Since when that is so.
    """

    category: str
    granted: bool
    changed_at: datetime


def refuse(db: Connection, user_id: int, category: str) -> bool:
    """Keep that a user wants no notices of a category; False if that was known, or the user is gone."""
    return _save(db, user_id, category, granted=False)


def grant(db: Connection, user_id: int, category: str) -> bool:
    """Keep that a user wants notices of a category; False if that was known, or the user is gone."""
    return _save(db, user_id, category, granted=True)


def find_user_id(db: Connection, reference: str) -> int:
    """Return the number of a user.

    Parameters
    ----------
    reference
        The user's id in the application that Sluice serves.

    Raises
    ------
    UserMissing
        If there is none.
    """
    with db.cursor(row_factory=scalar_row) as cursor:
        user_id = cursor.execute(statement("notify/consents", "find_user_id"), {"reference": reference}).fetchone()
    if user_id is None:
        raise UserMissing(reference)
    return int(user_id)


def list_by_user(db: Connection, user_id: int) -> list[ConsentRecord]:
    """Return all that a user said, by category."""
    with db.cursor(row_factory=class_row(ConsentRecord)) as cursor:
        return cursor.execute(statement("notify/consents", "list_by_user"), {"user_id": user_id}).fetchall()


def _save(db: Connection, user_id: int, category: str, *, granted: bool) -> bool:
    values = {"user_id": user_id, "category": category, "granted": granted}
    with db.cursor() as cursor:
        return cursor.execute(statement("notify/consents", "save"), values).fetchone() is not None
