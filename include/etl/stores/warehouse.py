"""Connections to the warehouse, for the command line; tasks get theirs from Airflow's Postgres hook."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from etl.errors import TransientError
from etl.settings import Endpoint

Warehouse = psycopg.Connection[tuple[Any, ...]]
"""An autocommit connection: a transaction lasts exactly as long as its `with warehouse.transaction()` block."""


class WarehouseUnreachable(TransientError):
    """The warehouse does not answer."""

    def __init__(self, endpoint: Endpoint, found: str) -> None:
        super().__init__(
            f"warehouse at {endpoint.host}:{endpoint.port or 5432}: {found}; "
            "see that it runs and that AIRFLOW_CONN_WAREHOUSE names it."
        )


@contextmanager
def connect(endpoint: Endpoint) -> Iterator[Warehouse]:
    """Open the warehouse.

    Raises
    ------
    WarehouseUnreachable
        If it does not answer, or refuses the login.
    """
    try:
        warehouse = psycopg.connect(
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
    with warehouse:
        yield warehouse
