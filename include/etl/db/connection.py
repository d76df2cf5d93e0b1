"""Connections to the warehouse for the command line, and the sorting of Postgres errors into permanent and transient.

Tasks get their connections from Airflow's Postgres hook.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from etl.errors import PermanentError, TransientError
from etl.settings import Endpoint

Connection = psycopg.Connection[tuple[Any, ...]]
"""An autocommit connection: a transaction lasts exactly as long as its `with db.transaction()` block."""

_RACE_ERRORS = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)
"""Another transaction inserted the same row first; a retry finds that row."""
_PERMANENT_ERRORS = (psycopg.ProgrammingError, psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError)
"""A statement, a schema, a permission or a record is wrong; a retry would fail as well."""


class WarehouseUnreachable(TransientError):
    """The warehouse does not answer."""

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            f"warehouse at {endpoint.host}:{endpoint.port or 5432}: {detail}; "
            "check that it runs and that AIRFLOW_CONN_WAREHOUSE points to it."
        )


class WarehouseNotMigrated(PermanentError):
    """The warehouse lacks a table or a column."""

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            f"warehouse {endpoint.schema!r} at {endpoint.host}:{endpoint.port or 5432}: {detail}; "
            "run `sluice migrate` first."
        )


def is_permanent_error(error: BaseException) -> bool:
    """Return whether a statement would fail again, unlike after a lost connection, a deadlock or a full disk."""
    return isinstance(error, _PERMANENT_ERRORS) and not isinstance(error, _RACE_ERRORS)


def connect_warehouse(environment: Mapping[str, str] = os.environ) -> AbstractContextManager[Connection]:
    """Connect to the warehouse that `AIRFLOW_CONN_WAREHOUSE` points to, as `connect` does."""
    return connect(Endpoint.from_environment("warehouse", environment))


@contextmanager
def connect(endpoint: Endpoint) -> Iterator[Connection]:
    """Connect to the warehouse; the connection is closed when the block ends.

    Raises
    ------
    WarehouseUnreachable
        If it does not answer or refuses the login.
    WarehouseNotMigrated
        If a statement of the block fails because a schema, a table or a column is missing.
    """
    try:
        db = psycopg.connect(
            _conninfo(endpoint),
            host=endpoint.host,
            port=endpoint.port or 5432,
            user=endpoint.login,
            password=endpoint.password,
            dbname=endpoint.schema,
            autocommit=True,
            connect_timeout=10,
            application_name="sluice",
        )
    except psycopg.OperationalError as error:
        raise WarehouseUnreachable(endpoint, str(error).strip().splitlines()[-1]) from None
    try:
        with db:
            yield db
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName) as error:
        raise WarehouseNotMigrated(endpoint, str(error).splitlines()[0]) from error


def _conninfo(endpoint: Endpoint) -> str:
    """Return the libpq options in the extra of a connection, such as `sslmode`, as Airflow's Postgres hook would."""
    libpq_options = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return make_conninfo(**{name: str(value) for name, value in endpoint.extra.items() if name in libpq_options})
