"""A sender that is asked to end, as by a deploy, ends what it has in flight and leaves nothing in doubt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from dev.stack.home import REPOSITORY
from dev.stack.stack import Stack
from etl.notify.slots.termination import delay_termination
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import FAST, NoticeHarness
from tests.integration.notify.stopped_sender import STOPPED

USERS, DEPLOYS = 3_000, 6


@dataclass(frozen=True)
class Sender:
    """Senders of a run, one process after the other."""

    environment: dict[str, str]
    arrived: Path

    def start(self, run_id: int, *, delay: float) -> subprocess.Popen[bytes]:
        arguments = {"run_id": run_id, "arrived": str(self.arrived), "delay": delay}
        command = [sys.executable, "-m", "tests.integration.notify.stopped_sender", json.dumps(arguments)]
        return subprocess.Popen(command, cwd=REPOSITORY, env=self.environment)

    @property
    def mails(self) -> Counter[str]:
        return Counter(self.arrived.read_text().split())

    def wait_for(self, mails: int) -> None:
        deadline = time.monotonic() + 30
        while self.mails.total() < mails and time.monotonic() < deadline:
            time.sleep(0.02)


@pytest.fixture
def sender(stack: Stack, database: Endpoint, tmp_path: Path) -> Sender:
    fields = ("host", "port", "login", "password", "schema")
    arrived = tmp_path / "arrived"
    arrived.touch()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'include'}",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({name: getattr(database, name) for name in fields}),
        "AIRFLOW_CONN_LIMITS": stack.environment["AIRFLOW_CONN_LIMITS"],
    }
    return Sender(environment, arrived)


def test_six_deploys_leave_nothing_in_doubt_and_nobody_without_or_with_two_mails(
    post: NoticeHarness, sender: Sender
) -> None:
    post.enrol(USERS)
    post.notice = replace(FAST, chunk_size=USERS)
    run_id = post.plan().run_id
    for deploy in range(DEPLOYS):
        process = sender.start(run_id, delay=0.05)
        sender.wait_for((deploy + 1) * USERS // (DEPLOYS + 1))
        mails = sender.mails.total()
        process.terminate()
        assert process.wait(timeout=10) == STOPPED
        assert sender.mails.total() - mails <= 500
        assert set(post.states()) == {"sent"}
    assert sender.start(run_id, delay=0.05).wait(timeout=60) == 0
    assert post.states() == {"sent": USERS}
    assert sender.mails.total() == len(sender.mails) == USERS


def test_a_sender_that_cannot_stop_in_time_ends_with_one_batch_in_doubt(post: NoticeHarness, sender: Sender) -> None:
    post.enrol(500)
    post.notice = replace(FAST, chunk_size=1_000)
    run_id = post.plan().run_id
    process = sender.start(run_id, delay=600)
    sender.wait_for(1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM
    in_flight = sender.mails.total()
    assert post.states()["claimed"] >= in_flight > 0


@contextmanager
def recorded_signals() -> Iterator[list[int]]:
    received: list[int] = []
    earlier = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, earlier)


def test_the_second_signal_has_the_effect_that_the_first_would_have_had() -> None:
    with recorded_signals() as received, delay_termination() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_made
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]


def test_after_its_grace_time_a_block_is_interrupted() -> None:
    with recorded_signals() as received, delay_termination(timedelta(seconds=0.05)):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        assert received == [signal.SIGTERM]


@pytest.mark.parametrize("raised", [None, KeyError], ids=["ends", "fails"])
def test_a_block_that_ends_by_itself_passes_the_signal_on_but_one_that_fails_does_not(
    raised: type[Exception] | None,
) -> None:
    def work(fail: Callable[[], None]) -> None:
        with delay_termination():
            os.kill(os.getpid(), signal.SIGTERM)
            fail()

    def fail() -> None:
        if raised:
            raise raised

    with recorded_signals() as received:
        before = signal.getsignal(signal.SIGTERM)
        if raised:
            with pytest.raises(raised):
                work(fail)
        else:
            work(fail)
        assert signal.getsignal(signal.SIGTERM) is before
        assert received == ([] if raised else [signal.SIGTERM])
