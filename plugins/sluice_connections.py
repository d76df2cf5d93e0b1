"""What steps are handed by tasks: connections that Airflow holds, and settings from the environment.

A connection lasts as long as its `with` block.
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
    """Open the Airflow connection `airflow_db` to Airflow's own database, to read; None if there is none."""
    import psycopg
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        opened = PostgresHook("airflow_db").get_conn()
    except (AirflowNotFoundException, psycopg.OperationalError) as error:
        log.warning("Airflow's own database cannot be read, so mails will not say what blocks a run: %s", error)
        yield None
        return
    with opened as connection:
        connection.autocommit = True
        connection.execute("set default_transaction_read_only = on")
        connection.execute("set statement_timeout = '10s'")
        yield connection


def limiter() -> Limiter:
    """Return the rate limiter on the Airflow connection `limits`."""
    from airflow.providers.redis.hooks.redis import RedisHook

    from etl.clients.rate_limits import Limiter

    return Limiter(RedisHook("limits").get_conn())  # type: ignore[no-untyped-call]


def endpoint(connection: str) -> Endpoint:
    """Return a base URL (the connection's host, such as a provider's) and credentials (its login and password)."""
    held = BaseHook.get_connection(connection)
    return Endpoint(
        host=held.host or "",
        port=held.port or 0,
        login=held.login or "",
        password=held.password or "",
        schema=held.schema or "",
    )


def raw_root() -> UPath:
    """Return the root of landing pages, raw and typed batches."""
    from upath import UPath

    return UPath(Settings.from_environment().raw_root)


def cipher() -> TokenCipher:
    """Return what decrypts access tokens."""
    from etl.sync.store.token_cipher import TokenCipher

    return TokenCipher(Settings.from_environment().keys)
