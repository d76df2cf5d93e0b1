"""What a person decides about deliveries that failed, or of which nobody knows whether they arrived.

Like a sender, whoever changes deliveries here holds the lock of their chunk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from psycopg.rows import scalar_row, tuple_row

from etl.db.connection import Connection
from etl.db.statements import statement

ErrorClassCounts = Mapping[str, int]
"""Error class → deliveries."""


def count_failures(db: Connection, run_id: int) -> dict[str, int]:
    """Return why deliveries of a run failed and how many, the most frequent first."""
    return _count_by_error_class(db, "count_failures", run_id)


def count_unknown(db: Connection, run_id: int) -> dict[str, int]:
    """Return why nobody knows of deliveries whether they arrived, and of how many nobody has decided yet."""
    return _count_by_error_class(db, "count_unknown", run_id)


def list_failed_chunks(db: Connection, run_id: int, *, error_classes: Collection[str] | None) -> list[int]:
    """Return the ordinals of the chunks with deliveries that failed, for any reason if classes are None."""
    with db.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": run_id, "classes": _as_list(error_classes)}
        return cursor.execute(statement("notify/retries", "list_failed_chunks"), values).fetchall()


def list_unknown_chunks(db: Connection, run_id: int) -> list[int]:
    """Return the ordinals of the chunks with deliveries in doubt, also with what a killed attempt left claimed."""
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("notify/retries", "list_unknown_chunks"), {"run_id": run_id}).fetchall()


def reopen(
    db: Connection, run_id: int, ordinal: int, *, state: str, error_classes: Collection[str] | None = None
) -> dict[str, int]:
    """Let the next walk of a chunk claim deliveries again, and set its run going.

    Parameters
    ----------
    state
        Which: `failed` or `unknown`.
    error_classes
        Only those that failed for one of these reasons; None for any.

    Returns
    -------
    dict
        Error class → deliveries that were reopened.
    """
    values = {"run_id": run_id, "ordinal": ordinal, "state": state, "classes": _as_list(error_classes)}
    with db.transaction(), db.cursor(row_factory=tuple_row) as cursor:
        reopened: dict[str, int] = dict(cursor.execute(statement("notify/retries", "reopen"), values).fetchall())
        if reopened:
            cursor.execute(statement("notify/retries", "restart_run"), values)
    return reopened


def drop_unknown(db: Connection, run_id: int, ordinal: int) -> int:
    """Give up what is in doubt of a chunk; it stays unknown for good. Return how much that was."""
    with db.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": run_id, "ordinal": ordinal}
        (dropped,) = cursor.execute(statement("notify/retries", "drop_unknown"), values).fetchall()
    return int(dropped)


def _count_by_error_class(db: Connection, statement_name: str, run_id: int) -> dict[str, int]:
    with db.cursor(row_factory=tuple_row) as cursor:
        return dict(cursor.execute(statement("notify/retries", statement_name), {"run_id": run_id}).fetchall())


def _as_list(error_classes: Collection[str] | None) -> list[str] | None:
    return None if error_classes is None else list(error_classes)
