"""A sender that is killed at any point leaves at most one page in doubt, and the next sender continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dev.stack.home import REPOSITORY
from dev.stack.stack import Stack
from etl.db.locks import LockTaken
from etl.declare.notice import UnknownPolicy
from etl.notify.channels.channel import SendOutcome
from etl.notify.send import DeliveriesDeferred
from etl.notify.store import runs
from etl.settings import Endpoint
from tests.integration.notify.killed_sender import KILL_POINTS
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import hurry

Kill = Callable[..., Counter[str]]
PAGE = 5
USERS = 12


@pytest.fixture
def post(post: NoticeHarness) -> NoticeHarness:
    """Return the harness at a pace of one page per second."""
    return replace(post, notice=replace(FAST, pace=PAGE, chunk_size=100))


@pytest.fixture
def kill(post: NoticeHarness, stack: Stack, database: Endpoint, tmp_path: Path) -> Kill:
    """Return a function that sends chunk 0 in a process that is killed, and returns what arrived."""
    db = {
        "host": database.host,
        "port": database.port,
        "login": database.login,
        "password": database.password,
        "schema": database.schema,
    }
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'include'}",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps(db),
        "AIRFLOW_CONN_LIMITS": stack.environment["AIRFLOW_CONN_LIMITS"],
    }

    def run(point: str, run_id: int, *, page: int, unknown: UnknownPolicy) -> Counter[str]:
        arrived = tmp_path / f"arrived-{time.monotonic_ns()}"
        arrived.touch()
        arguments = {"point": point, "run_id": run_id, "arrived": str(arrived), "page": page, "unknown": unknown.value}
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.notify.killed_sender", json.dumps(arguments)],
            cwd=REPOSITORY,
            env=environment,
            timeout=60,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        return Counter(arrived.read_text().split())

    return run


def send(post: NoticeHarness, run_id: int) -> None:
    """Send as soon as Postgres has noticed that the killed process is gone."""
    for _ in range(100):
        try:
            return post.send(run_id)
        except LockTaken:
            time.sleep(0.05)
    return post.send(run_id)


@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize("point", KILL_POINTS)
def test_with_hold_nobody_gets_a_message_twice_and_at_most_a_page_is_unknown(
    post: NoticeHarness, kill: Kill, rows: Callable[..., list[tuple[int]]], point: str, page: int
) -> None:
    users = post.enrol(USERS)
    post.notice = replace(post.notice, unknown=UnknownPolicy.HOLD)
    planned = post.plan()
    arrived = kill(point, planned.run_id, page=page, unknown=UnknownPolicy.HOLD)
    send(post, planned.run_id)
    states = post.states()
    assert states["sent"] + states["unknown"] == USERS
    assert states["unknown"] == (0 if point == "confirmed" else PAGE)
    assert post.totals(planned.run_id)["sent"] == states["sent"]
    received = arrived + post.mailbox.addresses
    assert max(received.values()) == 1
    assert set(received) <= {address(user) for user in users}
    assert post.run(planned.run_id).state == "done"
    was_interrupted = point != "confirmed"
    assert rows("select page_limit from notify.chunks") == [(500 if was_interrupted else 1_000,)], "pages are halved"


@pytest.mark.parametrize("point", KILL_POINTS)
def test_with_resend_everybody_gets_a_message_and_only_those_in_doubt_may_get_two(
    post: NoticeHarness, kill: Kill, rows: Callable[..., list[tuple[int]]], point: str
) -> None:
    users = post.enrol(USERS)
    post.notice = replace(post.notice, unknown=UnknownPolicy.RESEND)
    planned = post.plan()
    arrived = kill(point, planned.run_id, page=2, unknown=UnknownPolicy.RESEND)
    send(post, planned.run_id)
    doubted = {address(user) for (user,) in rows("select user_id from notify.deliveries where doubts > 0")}
    received = arrived + post.mailbox.addresses
    assert post.states() == {"sent": USERS}
    assert set(received) == {address(user) for user in users}
    assert {recipient for recipient, count in received.items() if count > 1} <= doubted
    assert len(doubted) == (0 if point == "confirmed" else PAGE)
    assert post.totals(planned.run_id) == {"chunks": 1, "chunks_finished": 1, "recipients": USERS, "sent": USERS}


def test_pages_that_were_halved_grow_back_after_some_without_a_death(
    post: NoticeHarness, rows: Callable[..., list[tuple[int]]]
) -> None:
    post.enrol(30)
    post.notice = replace(FAST, chunk_size=100)
    planned = post.plan()
    post.db.execute("update notify.chunks set page_limit = 1")
    post.send(planned.run_id)
    assert post.mailbox.batch_sizes == [1] * 10 + [2] * 10
    assert rows("select page_limit from notify.chunks") == [(4,)]
    post.enrol(10)
    later = post.plan("2026-11")
    post.db.execute("update notify.chunks set page_limit = 1000")
    post.send(later.run_id)
    assert rows("select page_limit from notify.chunks where run_id = %s", later.run_id) == [(1_000,)]


@pytest.mark.usefixtures("long_backoff")
@pytest.mark.parametrize("unknown", UnknownPolicy)
@pytest.mark.parametrize("point", KILL_POINTS)
def test_kill_while_deferred_messages_are_sent_leaves_at_most_their_page_in_doubt(
    post: NoticeHarness, kill: Kill, rows: Callable[..., list[tuple[int]]], point: str, unknown: UnknownPolicy
) -> None:
    users = post.enrol(USERS)
    post.notice = replace(post.notice, unknown=unknown, pace=1_000)
    planned = post.plan()
    post.mailbox.answers = {address(user): [SendOutcome.DEFERRED] for user in users[::2]}
    with pytest.raises(DeliveriesDeferred):
        post.send(planned.run_id)
    hurry(post, planned.run_id)
    runs.set_pace_or_state(post.db, planned.run_id, pace=PAGE)
    arrived = kill(point, planned.run_id, page=1, unknown=unknown)
    send(post, planned.run_id)
    received = arrived + post.mailbox.addresses
    check_counters(post, planned.run_id)
    doubted = 0 if point == "confirmed" else PAGE
    assert rows("select count(*) from notify.deliveries where doubts > 0") == [(doubted,)]
    if unknown is UnknownPolicy.HOLD:
        assert (
            check_counters(post, planned.run_id) == Counter({"sent": USERS - doubted, "unknown": doubted}) + Counter()
        )
        assert max(received.values()) == 1
    else:
        assert post.states() == {"sent": USERS}
        assert set(received) == set(map(address, users))
    assert post.run(planned.run_id).state == "done"
    assert rows("select count(*) from notify.deferrals") == [(0,)]
