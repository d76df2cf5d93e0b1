"""Named locks, held by Postgres, so that a crash of the holder releases them.

They are advisory: they exclude only callers that use the same key. Two keys have the same hash with a probability of
2^-64.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import OperationalError

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.errors import PermanentError, TransientError

MAINTENANCE = "maintenance"
"""Key of the lock that maintenance holds while it deletes expired data."""

_SQL = StatementFile("db/locks")


class LockTaken(TransientError):
    """Another connection holds the lock."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is under way elsewhere, so nothing was done; try again when that has ended.")


class LockLost(PermanentError):
    """The lock was lost while it was needed, so that two may have done the guarded work at once."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"{key}: the connection lost its lock while it worked, as happens behind a pooler in transaction mode; "
            "point AIRFLOW_CONN_WAREHOUSE to Postgres itself or to a pool in session mode."
        )


def acquire_until_commit(db: Connection, key: str) -> None:
    """Wait for the lock and hold it until the transaction ends.

    This works through a pooler in transaction mode too. Keep such transactions short.

    Raises
    ------
    WarehouseBusy
        If the holder keeps it for longer than `lock_timeout`.
    """
    _SQL["acquire_until_commit"].run(db, {"key": key})


@contextmanager
def hold(db: Connection, key: str) -> Iterator[None]:
    """Hold the lock while the block runs, over any number of transactions; never wait for it.

    Do the guarded work over the same connection, so that a connection which loses the lock cannot continue the work.
    The lock is reentrant: its connection may take it again, and holds it until the outermost block ends.

    A pooler in transaction mode, such as pgbouncer, may run each transaction on another connection to the server: the
    lock would stay with a server connection that others use. Connect to Postgres itself or through a pool in session
    mode; the mistake is detected only at the end of the block, and not always.

    Raises
    ------
    LockTaken
        If another connection holds the lock.
    LockLost
        At the end, if the connection no longer holds the lock: others may have worked at the same time.
    """
    if not _SQL["try_acquire"].scalar(db, {"key": key}):
        raise LockTaken(key)
    try:
        yield
    except BaseException:
        _release_if_possible(db, key)
        raise
    if not _SQL["release"].scalar(db, {"key": key}):
        raise LockLost(key)


def _release_if_possible(db: Connection, key: str) -> None:
    """Release the lock; a connection that is lost must not hide the error of the block."""
    try:
        _SQL["release"].run(db, {"key": key})
    except OperationalError:
        return
