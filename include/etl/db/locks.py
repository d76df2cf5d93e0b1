"""One at a time: locks that are taken by a name and kept by Postgres, so that a crash gives them back.

They are advisory: they stop only those that ask for the same key. Two keys may hash to the same number, once in 2^64.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import OperationalError
from psycopg.rows import scalar_row

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.errors import PermanentError, TransientError

MAINTENANCE = "maintenance"
"""Key of whoever removes what is old."""


class LockTaken(TransientError):
    """Somebody else is at what only one may do at a time."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is under way elsewhere, so nothing was done; try again when that has ended.")


class LockLost(PermanentError):
    """What only one may do at a time was perhaps done by two."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"{key}: the connection lost its lock while it worked, as it does behind a pooler in transaction mode; "
            "let AIRFLOW_CONN_WAREHOUSE name Postgres itself, or a pool in session mode."
        )


def acquire_until_commit(db: Connection, key: str) -> None:
    """Wait until nobody else holds the key, and keep others out until the transaction ends.

    It holds through a transaction pooler too. The wait has no bound but `lock_timeout`: hold it for moments.
    """
    db.execute(statement("db/locks", "acquire_until_commit"), {"key": key})


@contextmanager
def hold(db: Connection, key: str) -> Iterator[None]:
    """Keep others out for as long as the block lasts, over any number of transactions.

    Never waits. Do the guarded work over the same connection, so that whoever loses the key can do no more of it. The
    connection that has the key may take it again, and has it until the outermost block ends.

    A pooler in transaction mode, such as pgbouncer's, gives each transaction another connection to the server: the key
    would stay with one that others use. Connect to Postgres itself, or through a pool in session mode; where that was
    not done it is noticed only at the end of the block, and not always.

    Raises
    ------
    LockTaken
        If another connection has the key.
    LockLost
        At the end, if the connection no longer has it: others may have worked at the same time.
    """
    if not _fetch_bool(db, "try_acquire", key):
        raise LockTaken(key)
    try:
        yield
    except BaseException:
        _release_if_possible(db, key)
        raise
    if not _fetch_bool(db, "release", key):
        raise LockLost(key)


def _release_if_possible(db: Connection, key: str) -> None:
    """Let the error of the block be seen, even if it is the connection's."""
    try:
        _fetch_bool(db, "release", key)
    except OperationalError:
        return


def _fetch_bool(db: Connection, statement_name: str, key: str) -> bool:
    with db.cursor(row_factory=scalar_row) as cursor:
        (answer,) = cursor.execute(statement("db/locks", statement_name), {"key": key}).fetchall()
    return bool(answer)
