"""Real servers for the tests that need them, started once: Postgres, Valkey and the sandbox bank."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest
import redis
from cryptography.fernet import Fernet
from psycopg.sql import SQL, Identifier
from upath import UPath

from dev.servers.bank import Sandbox
from dev.servers.postgres import THROWAWAY_SETTINGS
from dev.stack.down import down
from dev.stack.home import REPOSITORY
from dev.stack.plan import StackOptions
from dev.stack.shell_environment import PROVIDER_CONNECTIONS
from dev.stack.stack import Stack
from dev.stack.up import StackScope, up
from etl import catalog_folder
from etl.catalog.entities import ENTITIES
from etl.clients import rate_limits
from etl.clients.rate_limits import Limiter
from etl.db import connection as warehouses
from etl.db import migrations
from etl.db.connection import Connection
from etl.notify.deferral import backoff
from etl.settings import Endpoint
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.notify.notice_harness import NoticeHarness
from tests.integration.sync.pipeline import Pipeline
from tests.integration.warehouse_copy import copy_warehouse
from tests.project_copy import ProjectCopy

DAY = date(2026, 11, 20)
SANDBOX = Sandbox(seed="tests", opened=DAY - timedelta(days=30), day=DAY)
AIRFLOW_TESTS = REPOSITORY / "tests" / "integration" / "airflow"
_SERVER_VARIABLES = ("WAREHOUSE_URL", "BROKER_URL", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", *PROVIDER_CONNECTIONS)
_ordinals = count(1)


def start_stack(home: Path, scope: StackScope, *, catalog: Path | None = None) -> Stack:
    """Start a stack of the tests, or what of it does not run yet; it runs a copy of the project, beside its home.

    Parameters
    ----------
    catalog
        Folder of the catalogue; None for the shipped one of the copy.
    """
    project = home.with_name("project")
    if not project.exists():
        ProjectCopy.make(project)
    bundles = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder), "refresh_interval": 10},
        }
        for name, folder in (("dags-folder", project / "dags"), ("tests", AIRFLOW_TESTS / "dags"))
    ]
    caller = {name: value for name, value in os.environ.items() if name not in _SERVER_VARIABLES}
    caller |= {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles)}
    caller |= {catalog_folder.VARIABLE: str(catalog or "")}
    return up(
        home,
        scope=scope,
        caller_environment=caller,
        options=StackOptions(SANDBOX, postgres_settings=THROWAWAY_SETTINGS, ui_port=None, project=project),
    )


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Return a stack of its own, without Airflow."""
    with tempfile.TemporaryDirectory(prefix="sluice-tests-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            yield start_stack(home, StackScope.SERVERS)
        finally:
            down(home)


@pytest.fixture(scope="session")
def server(stack: Stack) -> Endpoint:
    """Return the address of Postgres."""
    return Endpoint.from_environment("warehouse", stack.environment)


@pytest.fixture(scope="session")
def template(server: Endpoint) -> str:
    """Return a database with an empty warehouse, to be copied."""
    name = "template_warehouse"
    with warehouses.connect(server) as db:
        db.execute(SQL("create database {}").format(Identifier(name)))
    with warehouses.connect(replace(server, schema=name)) as db:
        migrations.migrate(db, ENTITIES)
    return name


@pytest.fixture
def database(server: Endpoint, template: str) -> Iterator[Endpoint]:
    """Return the address of an empty warehouse of the test's own."""
    with copy_warehouse(server, template, f"warehouse_{next(_ordinals)}") as database:
        yield database


@pytest.fixture
def connect(database: Endpoint) -> Iterator[Callable[[], Connection]]:
    """Return a function that opens one more connection to the warehouse."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(warehouses.connect(database))


@pytest.fixture
def db(connect: Callable[[], Connection]) -> Connection:
    """Return a connection to the warehouse."""
    return connect()


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    """Return an empty raw root."""
    return UPath(f"file://{tmp_path}/raw")


@pytest.fixture
def cipher() -> TokenCipher:
    """Return a cipher with a key of its own."""
    return TokenCipher([Fernet.generate_key().decode()])


@pytest.fixture
def bank(stack: Stack) -> Endpoint:
    """Return the sandbox bank."""
    return Endpoint.from_environment("plaid", stack.environment)


@pytest.fixture
def limiter(stack: Stack) -> Limiter:
    """Return a limiter that has granted nothing yet."""
    endpoint = Endpoint.from_environment("limits", stack.environment)
    with redis.Redis(endpoint.host, endpoint.port, endpoint.extra["db"], endpoint.password) as server:
        server.flushdb()
    return rate_limits.connect(endpoint)


@pytest.fixture
def pipeline(db: Connection, root: UPath, cipher: TokenCipher, bank: Endpoint, limiter: Limiter) -> Pipeline:
    """Return the steps of a sync, against the sandbox bank."""
    return Pipeline(db, root, cipher, bank, limiter)


@pytest.fixture
def post(db: Connection, limiter: Limiter) -> NoticeHarness:
    """Return the steps of a notice, with a mailbox in memory."""
    return NoticeHarness(db, limiter)


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let deferred messages be due after 50 ms at most."""
    monkeypatch.setattr(backoff, "MIN_WAIT", timedelta(milliseconds=1))
    monkeypatch.setattr(backoff, "MAX_WINDOW", timedelta(milliseconds=50))


@pytest.fixture
def long_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let deferred messages be due after a minute at least, so that no test waits for them."""
    monkeypatch.setattr(backoff, "MIN_WAIT", timedelta(minutes=1))


@pytest.fixture
def rows(db: Connection) -> Callable[..., list[tuple[object, ...]]]:
    """Return a function that runs a query and returns its rows."""

    def query(text: str, *values: object) -> list[tuple[object, ...]]:
        cursor: psycopg.Cursor[tuple[object, ...]] = db.cursor()
        return cursor.execute(text.encode(), values or None).fetchall()

    return query
