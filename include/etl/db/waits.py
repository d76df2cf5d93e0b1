"""Connections whose errors are safe to log: a wait that is cut off says who was waited for, and none quotes a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from etl.db.blockers import Blocker
from etl.errors import TransientError

RV = TypeVar("RV")

_DATA_EXCEPTION = "22"
"""Class of the codes of errors about values."""
_LOOKS_PER_TIMEOUT = 4
"""How often a wait for a lock is looked at before it is cut off."""
_MAX_AGE = 1.5
"""Age, in intervals between two looks, up to which a look tells of the wait that was cut off, which lasted longer."""


class WarehouseBusy(TransientError, psycopg.errors.LockNotAvailable):
    """Another transaction did not release a lock in time."""

    def __init__(self, waited: timedelta, detail: str, blockers: Sequence[Blocker], failure: str) -> None:
        where = f" ({detail})" if detail else ""
        super().__init__(
            f"the warehouse is busy: a statement that took {waited.total_seconds():.1f} s waited in vain for a lock"
            f"{where}, {_describe(blockers, failure)}. Its transaction changed nothing, and a retry may succeed; "
            f"if that does not help, {_remedy(blockers)}."
        )
        self.blockers = tuple(blockers)


class StatementCancelled(TransientError, psycopg.errors.QueryCanceled):
    """A statement took too long, or somebody cancelled it."""

    def __init__(self, took: timedelta, detail: str, blockers: Sequence[Blocker]) -> None:
        waited = f"; it waited for a lock, {_describe(blockers, '')}" if blockers else ""
        slow = "see what slows the server down, or give the connection a longer statement_timeout in its `options`"
        super().__init__(
            f"the warehouse ended a statement after {took.total_seconds():.1f} s: {detail}{waited}. Its transaction "
            f"changed nothing, and a retry may succeed; if that does not help, "
            f"{_remedy(blockers) if blockers else slow}."
        )
        self.blockers = tuple(blockers)


class TransactionExpired(TransientError, psycopg.errors.IdleInTransactionSessionTimeout):
    """The server closed the connection, since a transaction was left idle."""

    def __init__(self) -> None:
        super().__init__(
            "the warehouse closed this connection, since its transaction was idle for too long: the process stood "
            "still or waited for its storage, while others may have waited for its locks. The transaction changed "
            "nothing, and a retry may succeed; if that does not help, see the load of the worker and the storage of "
            "SLUICE_RAW_ROOT, or give the connection a longer idle_in_transaction_session_timeout in its `options`."
        )


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that looks for the blockers of a statement which takes long.

    It does so a few times in the span after which a wait for a lock is cut off. The errors above stay what psycopg
    raises, too, so that code which expects that finds it.
    """

    _find_blockers: Callable[[int], list[Blocker]] | None = None
    _look_every = 0.0

    def watch(self, find_blockers: Callable[[int], list[Blocker]], *, lock_timeout: timedelta) -> None:
        """Look for blockers from now on, by a function that takes the server's process of this connection."""
        self._find_blockers = find_blockers if lock_timeout else None
        self._look_every = lock_timeout.total_seconds() / _LOOKS_PER_TIMEOUT

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:  # noqa: ANN401 - passed on as they are
        """Wait for the server, as psycopg does for each of its calls.

        Raises
        ------
        WarehouseBusy, StatementCancelled, TransactionExpired
            If the server cuts the wait off.
        psycopg.Error
            If a statement fails; the text holds no value of a row, since logs have more readers than the warehouse.
        """
        look = _Look(self)
        try:
            return super().wait(look.watch(gen), *arguments, **options)
        except psycopg.errors.LockNotAvailable as error:
            raise WarehouseBusy(look.age, _detail(error), look.blockers, look.failure) from error
        except psycopg.errors.QueryCanceled as error:
            raise StatementCancelled(look.age, _detail(error), look.blockers) from error
        except psycopg.errors.IdleInTransactionSessionTimeout as error:
            raise TransactionExpired from error
        except psycopg.Error as error:
            error.args = (describe_without_values(error),)
            raise

    def look(self) -> list[Blocker]:
        """Return who holds up the statement that runs now."""
        return self._find_blockers(self.pgconn.backend_pid) if self._find_blockers else []

    @property
    def look_every(self) -> float:
        """Seconds between two looks; 0 if there are none."""
        return self._look_every if self._find_blockers else 0.0


class _Look:
    """What is known of the blockers of one statement."""

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection
        self._started = monotonic()
        self._found: list[Blocker] = []
        self._found_at = 0.0
        self.failure = ""

    @property
    def age(self) -> timedelta:
        return timedelta(seconds=monotonic() - self._started)

    @property
    def blockers(self) -> list[Blocker]:
        """Blockers of the wait that is just over; the very last look may have come too late to see them."""
        is_recent = monotonic() - self._found_at <= _MAX_AGE * self._connection.look_every
        return self._found if is_recent else []

    def watch(self, gen: PQGen[RV]) -> PQGen[RV]:
        """Drive a generator of psycopg, which receives 0 ten times a second until the server answers."""
        every = self._connection.look_every
        next_look = self._started + every
        try:
            state = next(gen)
            while True:
                ready = yield state
                if not ready and every and monotonic() >= next_look:
                    self._look()
                    next_look = monotonic() + every
                state = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result

    def _look(self) -> None:
        """Note who blocks the statement now; a look that fails does not disturb it."""
        self.failure = ""
        try:
            found = self._connection.look()
        except psycopg.Error as error:
            self.failure = f"asking the server failed: {type(error).__name__}"
            return
        if found:
            self._found, self._found_at = found, monotonic()


def describe_without_values(error: psycopg.Error) -> str:
    """Return what failed, where and with which code; an error that is not the server's stays as it is.

    The server quotes rows in the details and the context of a message, and bad values in the messages of class 22.
    """
    diag = error.diag
    if diag.sqlstate is None or diag.message_primary is None:
        return str(error)
    is_about_value = diag.sqlstate.startswith(_DATA_EXCEPTION)
    message = f"a value is bad ({type(error).__name__})" if is_about_value else diag.message_primary
    places = {
        "SQLSTATE": diag.sqlstate,
        "constraint": diag.constraint_name,
        "table": ".".join(filter(None, (diag.schema_name, diag.table_name))),
        "column": diag.column_name,
    }
    return f"{message} [{', '.join(f'{name} {value}' for name, value in places.items() if value)}]"


def _describe(blockers: Sequence[Blocker], failure: str) -> str:
    if not blockers:
        return f"and who holds it is not known{f' ({failure})' if failure else ''}"
    first, *others = map(str, blockers)
    return f"held by {first}" + "".join(f"; behind it {other}" for other in others)


def _remedy(blockers: Sequence[Blocker]) -> str:
    pids = [blocker.pid for blocker in blockers if blocker.pid]
    if not pids:
        return "see `pg_blocking_pids` in Postgres while it waits"
    return f"have that transaction ended, or end it by `select pg_terminate_backend({pids[-1]})`"


def _detail(error: psycopg.Error) -> str:
    """Return what the server says, and which row was to be locked; other contexts, as that of `copy`, show values."""
    message, context = (error.diag.message_primary or "").strip(), (error.diag.context or "").partition("\n")[0]
    return f"{message}, {context}" if context.startswith("while ") else message
