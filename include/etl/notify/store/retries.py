"""What a person decides about deliveries that failed, or of which nobody knows whether they arrived.

Like a sender, whoever changes deliveries here holds the lock of their chunk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from psycopg.rows import scalar_row, tuple_row

from etl.db.connection import Warehouse
from etl.db.statements import statement

Tally = Mapping[str, int]
"""Error class → deliveries."""


def failures(warehouse: Warehouse, run_id: int) -> dict[str, int]:
    """Return why deliveries of a run failed and how many, the most frequent first."""
    return _tally(warehouse, "failures", run_id)


def doubts(warehouse: Warehouse, run_id: int) -> dict[str, int]:
    """Return why nobody knows of deliveries whether they arrived, and of how many nobody has decided yet."""
    return _tally(warehouse, "doubts", run_id)


def failed_chunks(warehouse: Warehouse, run_id: int, *, classes: Collection[str] | None) -> list[int]:
    """Return the ordinals of the chunks with deliveries that failed, for any reason if classes are None."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": run_id, "classes": _listed(classes)}
        return cursor.execute(statement("notify/retries", "failed_chunks"), values).fetchall()


def doubtful_chunks(warehouse: Warehouse, run_id: int) -> list[int]:
    """Return the ordinals of the chunks with deliveries in doubt, also with what a killed attempt left claimed."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("notify/retries", "doubtful_chunks"), {"run_id": run_id}).fetchall()


def reopen(
    warehouse: Warehouse, run_id: int, ordinal: int, *, state: str, classes: Collection[str] | None = None
) -> dict[str, int]:
    """Let the next walk of a chunk claim deliveries again, and set its run going.

    Parameters
    ----------
    state
        Which: `failed` or `unknown`.
    classes
        Only those that failed for one of these reasons; None for any.

    Returns
    -------
    dict
        Error class → deliveries that were reopened.
    """
    values = {"run_id": run_id, "ordinal": ordinal, "state": state, "classes": _listed(classes)}
    with warehouse.transaction(), warehouse.cursor(row_factory=tuple_row) as cursor:
        reopened: dict[str, int] = dict(cursor.execute(statement("notify/retries", "reopen"), values).fetchall())
        if reopened:
            cursor.execute(statement("notify/retries", "run_again"), values)
    return reopened


def drop(warehouse: Warehouse, run_id: int, ordinal: int) -> int:
    """Give up what is in doubt of a chunk; it stays unknown for good. Return how much that was."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        values = {"run_id": run_id, "ordinal": ordinal}
        (dropped,) = cursor.execute(statement("notify/retries", "drop"), values).fetchall()
    return int(dropped)


def _tally(warehouse: Warehouse, name: str, run_id: int) -> dict[str, int]:
    with warehouse.cursor(row_factory=tuple_row) as cursor:
        return dict(cursor.execute(statement("notify/retries", name), {"run_id": run_id}).fetchall())


def _listed(classes: Collection[str] | None) -> list[str] | None:
    return None if classes is None else list(classes)
