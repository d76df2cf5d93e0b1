"""Connections, clients and settings that tasks pass to steps, from Airflow connections and the environment.

A database connection is closed at the end of its `with` block.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from etl.settings import Endpoint, Settings

if TYPE_CHECKING:
    from upath import UPath

    from etl.clients.rate_limits import Limiter
    from etl.db.connection import Connection
    from etl.sync.store.token_cipher import TokenCipher

log = logging.getLogger(__name__)


@contextmanager
def warehouse() -> Iterator[Connection]:
    """Open the Airflow connection `warehouse`, in autocommit: each step opens its own transactions."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    with PostgresHook("warehouse").get_conn() as connection:
        connection.autocommit = True
        yield connection


@contextmanager
def metadata_db() -> Iterator[Connection | None]:
    """Open Airflow's own database, read-only, by the connection `airflow_db`; yield None if it cannot be opened."""
    import psycopg
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        db = PostgresHook("airflow_db").get_conn()
    except (AirflowNotFoundException, psycopg.OperationalError) as error:
        log.warning("cannot connect to Airflow's own database, so alerts will not say what blocks a run: %s", error)
        yield None
        return
    with db as connection:
        connection.autocommit = True
        connection.execute("set default_transaction_read_only = on")
        connection.execute("set statement_timeout = '10s'")
        yield connection


def limiter() -> Limiter:
    """Return the rate limiter, which uses the Redis of the Airflow connection `limits`."""
    from airflow.providers.redis.hooks.redis import RedisHook

    from etl.clients.rate_limits import Limiter

    return Limiter(RedisHook("limits").get_conn())  # type: ignore[no-untyped-call]


def endpoint(connection: str) -> Endpoint:
    """Return the base URL (its host) and the credentials (login and password) of an Airflow connection."""
    fields = BaseHook.get_connection(connection)
    return Endpoint(
        host=fields.host or "",
        port=fields.port or 0,
        login=fields.login or "",
        password=fields.password or "",
        schema=fields.schema or "",
    )


def raw_root() -> UPath:
    """Return the root folder of landing pages, raw and typed batches."""
    from upath import UPath

    return UPath(Settings.from_environment().raw_root)


def cipher() -> TokenCipher:
    """Return the cipher of access tokens."""
    from etl.sync.store.token_cipher import TokenCipher

    return TokenCipher(Settings.from_environment().keys)
