"""Connections to the warehouse, and the sorting of Postgres errors into permanent and transient.

Tasks and commands connect in the same way, so that the same bounds hold for the waits of both.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import psycopg

from etl.db.blockers import find_blockers
from etl.db.timeouts import TIMEOUTS, Timeouts
from etl.db.waits import BoundedConnection
from etl.errors import PermanentError, TransientError
from etl.settings import Endpoint, hide_login

Connection = psycopg.Connection[tuple[Any, ...]]
"""An autocommit connection: a transaction lasts exactly as long as its `with db.transaction()` block."""

_RACE_ERRORS = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)
"""Another transaction inserted the same row first; a retry finds that row."""
_PERMANENT_ERRORS = (psycopg.ProgrammingError, psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError)
"""A statement, a schema, a permission or a record is wrong; a retry would fail as well."""
_KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
"""A server that vanished without a word is noticed after two minutes; by default, that takes more than two hours."""
_MAX_APPLICATION_LENGTH = 63
"""Postgres cuts what is longer."""


class WarehouseUnreachable(TransientError):
    """The warehouse does not answer."""

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        is_pooler = "startup parameter" in detail
        super().__init__(
            f"warehouse at {hide_login(endpoint.host)}:{endpoint.port or 5432}: {detail}; "
            + (
                "it is a pooler that has to accept `options`; docs/deploy.md says how."
                if is_pooler
                else "check that it runs and that AIRFLOW_CONN_WAREHOUSE points to it."
            )
        )


class WarehouseNotMigrated(PermanentError):
    """The warehouse lacks a table or a column."""

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            f"warehouse {hide_login(endpoint.schema)!r} at {hide_login(endpoint.host)}:{endpoint.port or 5432}: "
            f"{detail}; "
            "run `sluice migrate` first."
        )


def is_permanent_error(error: BaseException) -> bool:
    """Return whether a statement would fail again, unlike after a lost connection, a deadlock or a full disk."""
    return isinstance(error, _PERMANENT_ERRORS) and not isinstance(error, _RACE_ERRORS)


def connect_warehouse(
    environment: Mapping[str, str] = os.environ, *, timeouts: Timeouts = TIMEOUTS
) -> AbstractContextManager[Connection]:
    """Connect to the warehouse that `AIRFLOW_CONN_WAREHOUSE` points to, as `connect` does."""
    return connect(Endpoint.from_environment("warehouse", environment), timeouts=timeouts)


@contextmanager
def connect(endpoint: Endpoint, *, timeouts: Timeouts = TIMEOUTS, application: str = "sluice") -> Iterator[Connection]:
    """Connect to the warehouse; the connection is closed when the block ends.

    A wait that is cut off raises an error of `etl.db.waits`, which names who was waited for.

    Parameters
    ----------
    timeouts
        Bounds of its waits. `options` of the endpoint's extra, or PGOPTIONS, take precedence; a transaction that needs
        more runs `set local`.
    application
        Its name in Postgres, for whoever looks there for who blocks whom.

    Raises
    ------
    WarehouseUnreachable
        If it does not answer or refuses the login.
    WarehouseNotMigrated
        If a statement of the block fails because a schema, a table or a column is missing.
    """
    parameters = _parameters(endpoint, timeouts, application)
    try:
        db = BoundedConnection.connect(**parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise WarehouseUnreachable(endpoint, str(error).strip().splitlines()[-1]) from None
    db.watch(partial(find_blockers, parameters=parameters), lock_timeout=timeouts.lock)
    try:
        with db:
            yield db
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName) as error:
        raise WarehouseNotMigrated(endpoint, error.diag.message_primary or type(error).__name__) from error


def connect_url(url: str, *, timeouts: Timeouts = TIMEOUTS, connect_seconds: int = 10) -> Connection:
    """Return an autocommit connection to a database that is not the warehouse, or not yet; the caller closes it.

    Parameters
    ----------
    url
        Its URL, or libpq's parameters in one text.
    timeouts
        Bounds of its waits.
    connect_seconds
        Seconds in which the server must answer.

    Raises
    ------
    psycopg.OperationalError
        If it does not answer or refuses the login.
    """
    return psycopg.connect(url, autocommit=True, connect_timeout=connect_seconds, options=timeouts.options())


def _parameters(endpoint: Endpoint, timeouts: Timeouts, application: str) -> dict[str, Any]:
    """Return the parameters of libpq, with those in the extra of the connection, such as `sslmode`."""
    libpq_options = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    extra = {name: str(value) for name, value in endpoint.extra.items() if name in libpq_options}
    given = extra.pop("options", "") or os.environ.get("PGOPTIONS", "")
    return {
        **_KEEPALIVES,
        "connect_timeout": 10,
        "application_name": application[:_MAX_APPLICATION_LENGTH],
        **extra,
        "host": endpoint.host,
        "port": endpoint.port or 5432,
        "user": endpoint.login,
        "password": endpoint.password,
        "dbname": endpoint.schema,
        "options": timeouts.options(given),
    }
