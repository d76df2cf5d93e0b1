"""Advisory locks: one holder at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from etl.db import locks
from etl.db.connection import Connection
from etl.db.locks import LockLost, LockTaken

Connect = Callable[[], Connection]


def terminate(victim: Connection, by: Connection) -> None:
    by.execute("select pg_terminate_backend(%s, 5000)", (victim.info.backend_pid,))


def test_taking_a_taken_lock_raises_at_once_and_works_after_its_release(connect: Connect) -> None:
    first, second = connect(), connect()
    with locks.hold(first, "upkeep"):
        with pytest.raises(LockTaken, match="upkeep is under way elsewhere"), locks.hold(second, "upkeep"):
            pass
        with locks.hold(second, "something else"):
            pass
    with locks.hold(second, "upkeep"):
        pass


def test_only_one_of_many_concurrent_callers_holds_the_lock(connect: Connect) -> None:
    connections = [connect() for _ in range(8)]
    holders: list[int] = []

    def work(connection: Connection) -> int:
        try:
            with locks.hold(connection, "crowd"):
                holders.append(1)
                connection.execute("select pg_sleep(0.2)")
                concurrent_holders = len(holders)
                holders.pop()
        except LockTaken:
            return 0
        return concurrent_holders

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(work, connections)) == 1


def test_a_lock_is_kept_after_a_rollback(connect: Connect) -> None:
    first, second = connect(), connect()
    with locks.hold(first, "upkeep"):
        with first.transaction(force_rollback=True):
            first.execute("select 1")
        with pytest.raises(LockTaken), locks.hold(second, "upkeep"):
            pass


def test_an_error_in_the_block_releases_the_lock_and_is_raised(connect: Connect) -> None:
    first, second = connect(), connect()
    with pytest.raises(KeyError), locks.hold(first, "upkeep"):
        raise KeyError
    with locks.hold(second, "upkeep"):
        pass


def test_a_lock_is_released_when_the_connection_of_its_holder_is_killed(connect: Connect) -> None:
    first, second = connect(), connect()
    with pytest.raises(psycopg.OperationalError), locks.hold(first, "upkeep"):
        terminate(first, by=second)
        with locks.hold(second, "upkeep"):
            first.execute("select 1")


def test_a_connection_that_lost_its_lock_raises(connect: Connect) -> None:
    first = connect()
    with pytest.raises(LockLost, match="session mode"), locks.hold(first, "upkeep"):
        first.execute("select pg_advisory_unlock_all()")


def test_acquire_until_commit_waits_until_the_holder_ends_or_is_killed(connect: Connect) -> None:
    first, second, third = connect(), connect(), connect()
    with second.transaction():
        locks.acquire_until_commit(second, "upkeep")
        with pytest.raises(psycopg.errors.LockNotAvailable), first.transaction():
            first.execute("set local lock_timeout = 100")
            locks.acquire_until_commit(first, "upkeep")
    with pytest.raises(psycopg.OperationalError), second.transaction():
        locks.acquire_until_commit(second, "upkeep")
        terminate(second, by=third)
        with first.transaction():
            locks.acquire_until_commit(first, "upkeep")
        second.execute("select 1")
