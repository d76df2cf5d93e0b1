"""Manual decisions about deliveries that failed or are `unknown`, which means that they may or may not have arrived.

Like a sender, the caller must hold the lock of a chunk while it changes the chunk's deliveries.
"""

from __future__ import annotations

from collections.abc import Collection

from etl.db.connection import Connection
from etl.db.statements import StatementFile, statement
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.runs import NoticeRun

_SQL = StatementFile("notify/failed_deliveries")


def count_failures(db: Connection, run_id: int) -> dict[str, int]:
    """Return the failed deliveries of a run by error class, the most frequent first."""
    return dict(_SQL["count_failures"].rows(db, {"run_id": run_id}))


def count_unknown(db: Connection, run_id: int) -> dict[str, int]:
    """Return the unknown deliveries of a run by error class, except dropped ones; the most frequent first."""
    return dict(_SQL["count_unknown"].rows(db, {"run_id": run_id}))


def list_failed_chunks(db: Connection, run_id: int, *, error_classes: Collection[str] | None) -> list[int]:
    """Return the ordinals of the chunks with failed deliveries of one of `error_classes`, or of any if it is None."""
    values = {"run_id": run_id, "error_classes": _as_list(error_classes)}
    return _SQL["list_failed_chunks"].scalars(db, values)


def list_unknown_chunks(db: Connection, run_id: int) -> list[int]:
    """Return the ordinals of the chunks with unknown deliveries, or with claims that a killed attempt left behind."""
    return _SQL["list_unknown_chunks"].scalars(db, {"run_id": run_id})


def reopen(
    db: Connection, run: NoticeRun, chunk: NoticeChunk, *, state: str, error_classes: Collection[str] | None = None
) -> dict[str, int]:
    """Let deliveries of a chunk be deferred and due now, and restart its run if it was done.

    Parameters
    ----------
    state
        Which deliveries: `failed` or `unknown`.
    error_classes
        Only deliveries of these error classes; None for all.

    Returns
    -------
    dict
        Error class → deliveries that were reopened.
    """
    values = {
        **run.sql_parameters,
        **chunk.parameters,
        "after": chunk.start - 1,
        "stop": chunk.stop,
        "limit": None,
        "state": state,
        "error_classes": _as_list(error_classes),
    }
    query = _SQL["reopen"].substitute(recipients=statement(run.statement_file, "recipients"))
    with db.transaction():
        reopened: dict[str, int] = dict(query.rows(db, values))
        if reopened:
            _SQL["restart_run"].run(db, values)
    return reopened


def drop_unknown(db: Connection, run_id: int, ordinal: int) -> int:
    """Drop the unknown deliveries of a chunk: they stay unknown and are never sent again. Return how many."""
    return int(_SQL["drop_unknown"].scalar(db, {"run_id": run_id, "ordinal": ordinal}))


def _as_list(error_classes: Collection[str] | None) -> list[str] | None:
    return None if error_classes is None else list(error_classes)
