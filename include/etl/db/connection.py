"""Connections to the warehouse, for the command line; tasks get theirs from Airflow's Postgres hook."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from etl.errors import PermanentError, TransientError
from etl.settings import Endpoint

Connection = psycopg.Connection[tuple[Any, ...]]
"""An autocommit connection: a transaction lasts exactly as long as its `with warehouse.transaction()` block."""

_RACE_ERRORS = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)
"""Somebody else was first; the next try finds what they wrote."""
_PERMANENT_ERRORS = (psycopg.ProgrammingError, psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError)
"""A statement, a schema, a permission or a record is wrong, and stays so."""


class WarehouseUnreachable(TransientError):
    """The warehouse does not answer."""

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            f"warehouse at {endpoint.host}:{endpoint.port or 5432}: {detail}; "
            "see that it runs and that AIRFLOW_CONN_WAREHOUSE names it."
        )


class WarehouseNotMigrated(PermanentError):
    """The warehouse lacks a table or a column."""

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            f"warehouse {endpoint.schema!r} at {endpoint.host}:{endpoint.port or 5432}: {detail}; "
            "run `python -m etl migrate` first."
        )


def is_permanent_error(error: BaseException) -> bool:
    """Tell whether a statement would fail again, as opposed to a lost connection, a deadlock or a full disk."""
    return isinstance(error, _PERMANENT_ERRORS) and not isinstance(error, _RACE_ERRORS)


def _conninfo(endpoint: Endpoint) -> str:
    """Return what the connection says of how to connect, such as `sslmode`, as Airflow's Postgres hook would."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return make_conninfo(**{name: str(value) for name, value in endpoint.extra.items() if name in known})


def connect_warehouse(environment: Mapping[str, str] = os.environ) -> AbstractContextManager[Connection]:
    """Open the warehouse that `AIRFLOW_CONN_WAREHOUSE` names, as `connect` does."""
    return connect(Endpoint.from_environment("warehouse", environment))


@contextmanager
def connect(endpoint: Endpoint) -> Iterator[Connection]:
    """Open the warehouse.

    Raises
    ------
    WarehouseUnreachable
        If it does not answer, or refuses the login.
    WarehouseNotMigrated
        If the block finds that a table or a column is missing.
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
