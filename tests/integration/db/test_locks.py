"""What only one may do at a time."""

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


def test_the_second_is_told_at_once_and_the_next_goes_on(connect: Connect) -> None:
    one, other = connect(), connect()
    with locks.hold(one, "upkeep"):
        with pytest.raises(LockTaken, match="upkeep is under way elsewhere"), locks.hold(other, "upkeep"):
            pass
        with locks.hold(other, "something else"):
            pass
    with locks.hold(other, "upkeep"):
        pass


def test_of_many_at_once_one_has_it(connect: Connect) -> None:
    connections = [connect() for _ in range(8)]
    inside: list[int] = []

    def work(connection: Connection) -> int:
        try:
            with locks.hold(connection, "crowd"):
                inside.append(1)
                connection.execute("select pg_sleep(0.2)")
                most = len(inside)
                inside.pop()
        except LockTaken:
            return 0
        return most

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(work, connections)) == 1


def test_it_outlasts_transactions_that_are_undone(connect: Connect) -> None:
    one, other = connect(), connect()
    with locks.hold(one, "upkeep"):
        with one.transaction(force_rollback=True):
            one.execute("select 1")
        with pytest.raises(LockTaken), locks.hold(other, "upkeep"):
            pass


def test_an_error_in_the_block_gives_it_back_and_is_seen(connect: Connect) -> None:
    one, other = connect(), connect()
    with pytest.raises(KeyError), locks.hold(one, "upkeep"):
        raise KeyError
    with locks.hold(other, "upkeep"):
        pass


def test_a_holder_whose_connection_is_killed_has_it_no_more(connect: Connect) -> None:
    one, other = connect(), connect()
    with pytest.raises(psycopg.OperationalError), locks.hold(one, "upkeep"):
        terminate(one, by=other)
        with locks.hold(other, "upkeep"):
            one.execute("select 1")


def test_a_connection_that_lost_it_says_so(connect: Connect) -> None:
    one = connect()
    with pytest.raises(LockLost, match="session mode"), locks.hold(one, "upkeep"):
        one.execute("select pg_advisory_unlock_all()")


def test_until_commit_waits_for_the_other_to_end_or_to_die(connect: Connect) -> None:
    one, other, third = connect(), connect(), connect()
    with other.transaction():
        locks.acquire_until_commit(other, "upkeep")
        with pytest.raises(psycopg.errors.LockNotAvailable), one.transaction():
            one.execute("set local lock_timeout = 100")
            locks.acquire_until_commit(one, "upkeep")
    with pytest.raises(psycopg.OperationalError), other.transaction():
        locks.acquire_until_commit(other, "upkeep")
        terminate(other, by=third)
        with one.transaction():
            locks.acquire_until_commit(one, "upkeep")
        other.execute("select 1")
