"""Fixtures of tests on a running Airflow: scheduler, API server, Dag processor, triggerer and all Celery workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from dev.demo.airflow_api import AirflowApi, DagRun
from dev.demo.enrol import enrol
from dev.stack.airflow_environment import ADMIN
from dev.stack.stack import Stack
from etl.db.connection import Connection, connect_warehouse
from tests.integration.airflow.campaigns import add_campaigns
from tests.integration.conftest import start_stack
from tests.own_catalog import OwnCatalog

USERS = 60
Rows = Callable[..., list[tuple[object, ...]]]


def wait_for_end(api: AirflowApi, dag_id: str, run: DagRun, *, seconds: float = 180.0) -> DagRun:
    """Wait until a run has ended, at most `seconds`, and return it as it is then."""
    deadline = time.monotonic() + seconds
    while run.state not in ("success", "failed") and time.monotonic() < deadline:
        time.sleep(1)
        run = api.get_run(dag_id, run.run_id)
    return run


@pytest.fixture(scope="session")
def airflow_stack(stack: Stack) -> Stack:
    """Return the stack, with Airflow started and users enrolled; its catalogue re-exports the shipped one."""
    from dev.stack.up import StackScope

    catalog = add_campaigns(OwnCatalog(stack.home.with_name("our own")).reexport_all())
    started = start_stack(stack.home, StackScope.ALL, catalog=catalog.folder)
    enrol(USERS, environment=started.environment)
    return started


@pytest.fixture
def api(airflow_stack: Stack) -> Iterator[AirflowApi]:
    """Return a session with Airflow's API."""
    with AirflowApi(airflow_stack.ui_url, user=ADMIN, password=airflow_stack.ui_password) as session:
        yield session


@pytest.fixture
def synced(airflow_stack: Stack) -> Iterator[Connection]:
    """Return the warehouse that the Dags load."""
    with connect_warehouse(airflow_stack.environment) as db:
        yield db


@pytest.fixture
def metadata(airflow_stack: Stack) -> Iterator[Rows]:
    """Return a function that runs a query on Airflow's own database."""
    with psycopg.connect(airflow_stack.metadata_url, autocommit=True) as db:
        yield lambda text, *values: db.execute(text.encode(), values or None).fetchall()
