"""What somebody was told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Told:
    """A delivery to a user.

    Parameters
    ----------
    notice, key
        Of what: the period of its run, or what else its notice tells of.
    channel, state, error_class
        Over which channel, what came of it, and why.
    run_id
        Which run it is of.
    claimed_at, ended_at
        When it was claimed last, and when it ended.
    """

    notice: str
    key: str
    channel: str
    state: str
    error_class: str | None
    run_id: int
    claimed_at: datetime
    ended_at: datetime | None


def to_user(warehouse: Warehouse, user_id: int, *, notice: str | None, keys: Collection[str], limit: int) -> list[Told]:
    """Return what a user was told for the periods of all runs, and of what else is asked for; the newest first.

    Parameters
    ----------
    notice
        Only of this one; None for all.
    keys
        More that a notice may have told of, if not of its periods.
    """
    values = {"user_id": user_id, "notice": notice, "keys": list(keys), "limit": limit}
    with warehouse.cursor(row_factory=class_row(Told)) as cursor:
        return cursor.execute(statement("stores/told", "told"), values).fetchall()
