"""Connections, clients and settings that tasks pass to steps, from Airflow connections and the environment.

A database connection is closed at the end of its `with` block.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, get_current_context

from etl.settings import Endpoint, Settings

if TYPE_CHECKING:
    from upath import UPath

    from etl.clients.rate_limits import Limiter
    from etl.db.connection import Connection
    from etl.declare.queue import Queue
    from etl.notify.slots.turns import Turns
    from etl.sync.logins.store.token_cipher import TokenCipher

log = logging.getLogger(__name__)


@contextmanager
def warehouse() -> Iterator[Connection]:
    """Open the Airflow connection `warehouse`, in autocommit: each step opens its own transactions."""
    from etl.db.connection import connect

    with connect(endpoint("warehouse"), application=_application_name()) as db:
        yield db


@contextmanager
def metadata_db() -> Iterator[Connection | None]:
    """Open Airflow's own database, read-only, by the connection `airflow_db`; yield None if it cannot be opened."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from etl.db.connection import WarehouseUnreachable, connect
    from etl.db.timeouts import METADATA_TIMEOUTS

    with ExitStack() as stack:
        try:
            db = stack.enter_context(
                connect(endpoint("airflow_db"), timeouts=METADATA_TIMEOUTS, application=_application_name())
            )
        except (AirflowNotFoundException, WarehouseUnreachable) as error:
            log.warning("cannot connect to Airflow's own database, so alerts will not say what blocks a run: %s", error)
            yield None
            return
        db.execute("set default_transaction_read_only = on")
        yield db


def limiter() -> Limiter:
    """Return the rate limiter, which uses the Redis of the Airflow connection `limits`."""
    from etl.clients import rate_limits

    return rate_limits.connect(endpoint("limits"))


def turns(queue: Queue) -> Turns:
    """Return the turns of the senders of a queue, which use the same Redis as the rate limits."""
    from etl.clients import rate_limits
    from etl.notify.slots.turns import Turns

    return Turns(rate_limits.open_server(endpoint("limits")), queue)


def endpoint(connection: str) -> Endpoint:
    """Return an Airflow connection; for a provider, its host is the base URL."""
    fields = BaseHook.get_connection(connection)
    return Endpoint(
        host=fields.host or "",
        port=fields.port or 0,
        login=fields.login or "",
        password=fields.password or "",
        schema=fields.schema or "",
        extra=json.loads(fields.extra or "{}"),
    )


def raw_root() -> UPath:
    """Return the root folder of landing pages, raw and typed batches."""
    from upath import UPath

    return UPath(Settings.from_environment().raw_root)


def cipher() -> TokenCipher:
    """Return the cipher of access tokens."""
    from etl.sync.logins.store.token_cipher import TokenCipher

    return TokenCipher(Settings.from_environment().keys)


def _application_name() -> str:
    """Return the task that runs, for whoever looks in Postgres for who blocks whom."""
    try:
        task_instance = get_current_context()["ti"]
    except RuntimeError:
        return "sluice"
    index = "" if task_instance.map_index is None or task_instance.map_index < 0 else f"[{task_instance.map_index}]"
    return f"{task_instance.dag_id}.{task_instance.task_id}{index}"
