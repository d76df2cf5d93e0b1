"""Waits for locks, statements and idle transactions end in bounded time; the error names who was waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from etl.catalog.entities import ENTITIES
from etl.db import connection, locks, migrations
from etl.db.connection import Connection, connect
from etl.db.timeouts import TIMEOUTS, Timeouts
from etl.db.waits import StatementCancelled, TransactionExpired, WarehouseBusy
from etl.errors import TransientError
from etl.settings import Endpoint

SHORT = Timeouts(lock=timedelta(seconds=1), idle_in_transaction=timedelta(seconds=1), statement=timedelta(seconds=3))
UPDATE = "update core.users set reference = reference where reference = 'somebody''s secret'"


@pytest.fixture
def holder(database: Endpoint) -> Iterator[Connection]:
    """Return a connection with an open transaction that no timeout ends."""
    unbounded = timedelta()
    timeouts = Timeouts(lock=unbounded, idle_in_transaction=unbounded, statement=unbounded)
    with connect(database, timeouts=timeouts, application="month end") as db:
        db.execute("insert into core.users (reference) values ('somebody''s secret')")
        with db.transaction(force_rollback=True):
            yield db


@contextmanager
def bounded(database: Endpoint, timeouts: Timeouts = SHORT) -> Iterator[Connection]:
    with connect(database, timeouts=timeouts) as db:
        yield db


def settings(db: Connection) -> dict[str, str]:
    names = ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
    return {name: db.execute(f"show {name}".encode()).fetchall()[0][0] for name in names}


def is_retried(error: BaseException) -> bool:
    return isinstance(error, TransientError) and not connection.is_permanent_error(error)


def test_every_connection_bounds_its_waits(database: Endpoint) -> None:
    with connect(database) as db:
        assert settings(db) == {
            "lock_timeout": "5min",
            "idle_in_transaction_session_timeout": "10min",
            "statement_timeout": "30min",
        }
    assert TIMEOUTS.lock < TIMEOUTS.idle_in_transaction < TIMEOUTS.statement < timedelta(hours=1)


def test_options_of_the_connection_and_of_the_environment_take_precedence(
    database: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=7s")
    with connect(database) as db:
        assert settings(db)["lock_timeout"] == "7s"
        assert settings(db)["statement_timeout"] == "30min"
    with connect(replace(database, extra={"options": "-c statement_timeout=8s"})) as db:
        assert settings(db)["lock_timeout"] == "5min"
        assert settings(db)["statement_timeout"] == "8s"


def test_a_transaction_can_be_given_more_time(database: Endpoint, holder: Connection) -> None:
    with bounded(database) as db, db.transaction():
        db.execute("set local statement_timeout = '10s'")
        db.execute("select pg_sleep(4)")


def test_a_wait_for_a_lock_names_who_holds_it(database: Endpoint, holder: Connection) -> None:
    holder.execute(UPDATE.encode())
    started = time.monotonic()
    with pytest.raises(WarehouseBusy) as raised, bounded(database) as db:
        db.execute(UPDATE.encode())
    assert 1 <= time.monotonic() - started < 3
    (blocker,) = raised.value.blockers
    assert (blocker.pid, blocker.application) == (holder.info.backend_pid, "month end")
    assert blocker.open_for is not None
    assert timedelta() < blocker.open_for < timedelta(seconds=30)
    message = str(raised.value)
    assert f"pid {blocker.pid} (user {blocker.login}, application month end, from 127.0.0.1)" in message
    assert "idle in transaction, its transaction open for" in message
    assert "its query: update core.users set reference = reference where reference = …" in message
    assert 'tuple (0,1) in relation "users"' in message
    assert f"select pg_terminate_backend({blocker.pid})" in message
    assert "secret" not in message
    assert is_retried(raised.value)


def test_the_last_in_a_chain_of_blockers_is_named(database: Endpoint, holder: Connection) -> None:
    holder.execute(UPDATE.encode())
    with ExitStack() as stack:
        victim = psycopg.connect(**_parameters(database), autocommit=True)
        stack.callback(victim.close)
        pids = [victim.info.backend_pid, holder.info.backend_pid]
        victim.execute("begin")
        victim.execute("lock table etl.chunks in share mode")
        victim.pgconn.send_query(UPDATE.encode())
        with pytest.raises(WarehouseBusy) as raised, bounded(database) as db, db.transaction():
            db.execute("lock table etl.chunks in exclusive mode")
    assert [blocker.pid for blocker in raised.value.blockers] == pids
    assert "application month end" in str(raised.value)
    assert f"select pg_terminate_backend({holder.info.backend_pid})" in str(raised.value)


def test_a_blocker_that_is_gone_is_not_named_for_what_came_later(database: Endpoint, holder: Connection) -> None:
    holder.execute(UPDATE.encode())
    slow = b"with held as (select 1 from core.users for update) select pg_sleep(10) from held"
    with ThreadPoolExecutor(1) as thread, bounded(database) as db:
        running = thread.submit(db.execute, slow)
        time.sleep(0.7)
        holder.execute("rollback")
        with pytest.raises(StatementCancelled) as raised:
            running.result()
    assert raised.value.blockers == ()


def test_a_wait_that_is_too_short_to_be_looked_at_says_so(database: Endpoint, holder: Connection) -> None:
    holder.execute(UPDATE.encode())
    with pytest.raises(WarehouseBusy, match="who holds it is not known") as raised, connect(database) as db:
        db.execute("set lock_timeout = 100")
        db.execute(UPDATE.encode())
    assert "pg_blocking_pids" in str(raised.value)


def test_a_look_that_fails_does_not_disturb_the_statement(
    database: Endpoint, holder: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg.OperationalError("too many connections")

    with bounded(database) as db:
        monkeypatch.setattr(psycopg, "connect", refuse)
        db.execute("select pg_sleep(1)")
        holder.execute(UPDATE.encode())
        with pytest.raises(WarehouseBusy, match="asking the server failed: OperationalError"):
            db.execute(UPDATE.encode())


def test_a_wait_for_an_advisory_lock_names_who_holds_it(database: Endpoint, holder: Connection) -> None:
    locks.acquire_until_commit(holder, "upkeep")
    with pytest.raises(WarehouseBusy) as raised, bounded(database) as db, db.transaction():
        locks.acquire_until_commit(db, "upkeep")
    assert [blocker.pid for blocker in raised.value.blockers] == [holder.info.backend_pid]


def test_a_migration_waits_in_bounded_time_for_another(database: Endpoint, holder: Connection) -> None:
    locks.acquire_until_commit(holder, "migrations")
    with pytest.raises(WarehouseBusy) as raised, bounded(database) as db:
        migrations.migrate(db, ENTITIES, patience=timedelta())
    assert [blocker.pid for blocker in raised.value.blockers] == [holder.info.backend_pid]


def test_a_statement_that_takes_too_long_is_ended_and_retried(database: Endpoint) -> None:
    started = time.monotonic()
    with pytest.raises(StatementCancelled, match="due to statement timeout") as raised, bounded(database) as db:
        db.execute("select pg_sleep(60)")
    assert time.monotonic() - started < 6
    assert "statement_timeout" in str(raised.value)
    assert is_retried(raised.value)


def test_a_statement_that_waits_for_one_lock_after_the_other_names_who_holds_it(
    database: Endpoint, holder: Connection
) -> None:
    holder.execute(UPDATE.encode())
    patient = replace(SHORT, lock=timedelta(seconds=2), statement=timedelta(seconds=1))
    with pytest.raises(StatementCancelled) as raised, bounded(database, patient) as db:
        db.execute(UPDATE.encode())
    assert [blocker.pid for blocker in raised.value.blockers] == [holder.info.backend_pid]
    assert f"held by pid {holder.info.backend_pid}" in str(raised.value)


@pytest.mark.parametrize("statement", ["select 1", None])
def test_an_idle_transaction_of_ours_is_ended_and_retried(database: Endpoint, statement: str | None) -> None:
    with pytest.raises(TransactionExpired) as raised, bounded(database) as db, db.transaction():
        db.execute("insert into core.users (reference) values ('never committed')")
        time.sleep(1.5)
        if statement:
            db.execute(statement.encode())
    assert "idle for too long" in str(raised.value)
    assert is_retried(raised.value)
    with connect(database) as db:
        assert db.execute("select count(*) from core.users").fetchall() == [(0,)]


def test_an_interrupt_ends_a_wait_and_leaves_the_connection_usable(database: Endpoint) -> None:
    import signal

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with connect(database) as db:
        earlier = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            with pytest.raises(KeyboardInterrupt):
                db.execute("select pg_sleep(20)")
        finally:
            signal.signal(signal.SIGALRM, earlier)
        assert db.execute("select 1").fetchall() == [(1,)]


def _parameters(database: Endpoint) -> dict[str, Any]:
    return {
        "host": database.host,
        "port": database.port,
        "user": database.login,
        "password": database.password,
        "dbname": database.schema,
    }
