"""A run is paused, resumed, cancelled and given another pace while it is being sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dev.stack.stack import Stack
from etl.catalog.channels import EMAIL
from etl.clients import rate_limits
from etl.db.connection import Connection
from etl.notify import pacing
from etl.notify.pacing import PaceTooSlow, RunControl, SendingCancelled, SendingPaused
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import FAST, NoticeHarness


@pytest.fixture
def operator(connect: Callable[[], Connection]) -> Connection:
    """Return the connection of an operator who controls the run."""
    return connect()


@pytest.fixture
def _short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MAX_PAUSE", timedelta(seconds=0.2))


def test_resumed_run_continues_in_its_slot_with_nothing_claimed_during_the_pause(
    post: NoticeHarness, operator: Connection
) -> None:
    post.enrol(30)
    post.notice = replace(FAST, pace=10, chunk_size=100)
    planned = post.plan()
    resumed_at: list[float] = []
    paused_states: list[Counter[str]] = []

    def resume() -> None:
        paused_states.append(replace(post, db=operator).states())
        runs.set_pace_or_state(operator, planned.run_id, state=RunState.RUNNING, pace=1_000)
        resumed_at.append(time.monotonic())

    def pause(_: object) -> None:
        if not resumed_at and len(post.mailbox.batch_sizes) == 2:
            runs.set_pace_or_state(operator, planned.run_id, state=RunState.PAUSED)
            threading.Timer(2.5, resume).start()

    post.mailbox.after = pause
    post.send(planned.run_id)
    assert time.monotonic() - resumed_at[0] < 2
    assert set(paused_states[0]) == {"sent"}
    assert 0 < paused_states[0]["sent"] < 30
    assert post.states() == {"sent": 30}
    assert max(post.mailbox.addresses.values()) == 1
    assert post.totals(planned.run_id)["sent"] == 30


@pytest.mark.usefixtures("_short_pause")
def test_long_pause_is_rescheduled_and_loses_nothing(post: NoticeHarness, operator: Connection) -> None:
    post.enrol(30)
    post.notice = replace(FAST, pace=10, chunk_size=100)
    planned = post.plan()

    def pause(_: object) -> None:
        runs.set_pace_or_state(operator, planned.run_id, state=RunState.PAUSED)

    post.mailbox.after = pause
    with pytest.raises(SendingPaused) as raised:
        post.send(planned.run_id)
    assert raised.value.wait == timedelta(seconds=30)
    sent_count = len(post.mailbox.arrived)
    assert 0 < sent_count < 30
    assert post.states() == {"sent": sent_count}
    with pytest.raises(SendingPaused):
        post.send(planned.run_id)
    post.mailbox.after = lambda _: None
    runs.set_pace_or_state(operator, planned.run_id, state=RunState.RUNNING, pace=1_000)
    post.send(planned.run_id)
    assert post.states() == {"sent": 30}
    assert max(post.mailbox.addresses.values()) == 1
    assert post.totals(planned.run_id)["sent"] == 30


@pytest.mark.parametrize(
    ("change", "raised"),
    [
        ({"state": RunState.PAUSED}, SendingPaused),
        ({"state": RunState.CANCELLED}, SendingCancelled),
        ({"pace": 0}, SendingPaused),
    ],
    ids=["paused", "cancelled", "at a pace of 0"],
)
def test_a_sender_that_waits_for_its_turn_notices_a_change_within_seconds(
    post: NoticeHarness, operator: Connection, change: dict[str, Any], raised: type[Exception]
) -> None:
    post.enrol(1)
    post.notice = replace(FAST, pace=1 / 30)
    planned = post.plan()
    control = RunControl(post.db, post.limiter, planned.run_id)

    async def wait_for_the_second_turn() -> None:
        assert await control.acquire(EMAIL, "mail.example", 1) == 1
        assert runs.set_pace_or_state(operator, planned.run_id, **change)
        async with asyncio.timeout(5):
            await control.acquire(EMAIL, "mail.example", 1)

    with pytest.raises(raised):
        asyncio.run(wait_for_the_second_turn())


def test_cancelled_run_sends_nothing_more(post: NoticeHarness, operator: Connection) -> None:
    post.enrol(30)
    post.notice = replace(FAST, pace=10, chunk_size=100)
    planned = post.plan()

    def cancel(_: object) -> None:
        runs.set_pace_or_state(operator, planned.run_id, state=RunState.CANCELLED)

    post.mailbox.after = cancel
    post.send(planned.run_id)
    sent_count = len(post.mailbox.arrived)
    assert 0 < sent_count < 30
    post.send(planned.run_id)
    assert post.states() == {"sent": sent_count}
    assert not runs.set_pace_or_state(operator, planned.run_id, state=RunState.RUNNING)
    assert post.run(planned.run_id).state == "cancelled"


@pytest.mark.usefixtures("_short_pause")
def test_pace_of_zero_sends_nothing_and_is_rescheduled(post: NoticeHarness, operator: Connection) -> None:
    post.enrol(3)
    planned = post.plan()
    runs.set_pace_or_state(operator, planned.run_id, pace=0)
    with pytest.raises(SendingPaused, match="at a pace of 0; nothing is lost"):
        post.send(planned.run_id)
    assert post.states() == {}


def test_pace_with_a_long_wait_is_rescheduled_with_nothing_left_claimed(post: NoticeHarness) -> None:
    post.enrol(3)
    post.notice = replace(FAST, pace=1 / 100)
    planned = post.plan()
    with pytest.raises(PaceTooSlow) as raised:
        post.send(planned.run_id)
    assert timedelta(seconds=90) < raised.value.wait <= timedelta(seconds=100)
    assert post.states() == {"sent": 1}


def test_runs_of_one_notice_share_the_higher_pace_in_proportion_to_their_own(
    post: NoticeHarness, connect: Callable[[], Connection]
) -> None:
    post.enrol(1)
    fast, slow = (post.plan(period).run_id for period in ("2026-09", "2026-10"))
    runs.set_pace_or_state(post.db, fast, pace=400)
    runs.set_pace_or_state(post.db, slow, pace=100)
    sent: Counter[int] = Counter()

    async def send_for_three_seconds(run_id: int, db: Connection) -> None:
        control = RunControl(db, post.limiter, run_id)
        started_at = time.monotonic()
        while (elapsed := time.monotonic() - started_at) < 3:
            granted = await control.acquire(EMAIL, "mail.example", 1_000)
            sent[run_id] += granted if elapsed > 1 else 0

    async def both() -> None:
        await asyncio.gather(send_for_three_seconds(fast, connect()), send_for_three_seconds(slow, connect()))

    asyncio.run(both())
    assert sent[fast] + sent[slow] == pytest.approx(800, rel=0.15)
    assert sent[fast] / sent[slow] == pytest.approx(4, rel=0.15)


def test_a_new_pace_takes_effect_within_two_seconds(post: NoticeHarness, operator: Connection) -> None:
    post.enrol(60)
    post.notice = replace(FAST, pace=4, chunk_size=100)
    planned = post.plan()
    changed_at: list[float] = []

    def faster(_: object) -> None:
        if not changed_at:
            runs.set_pace_or_state(operator, planned.run_id, pace=500)
            changed_at.append(time.monotonic())

    post.mailbox.after = faster
    post.send(planned.run_id)
    assert post.states() == {"sent": 60}
    assert time.monotonic() - changed_at[0] < 3


def test_all_senders_together_keep_the_pace(
    post: NoticeHarness, connect: Callable[[], Connection], stack: Stack
) -> None:
    pace = 100
    post.enrol(400)
    post.notice = replace(FAST, pace=pace, chunk_size=100)
    planned = post.plan()
    sent: list[tuple[float, int]] = []
    lock = threading.Lock()
    connections = [connect() for _ in planned.ordinals]

    def count(messages: object) -> None:
        with lock:
            sent.append((time.monotonic(), len(messages)))  # type: ignore[arg-type]

    post.mailbox.before = count

    def work(ordinal: int) -> None:
        own_limiter = rate_limits.connect(Endpoint.from_environment("limits", stack.environment))
        replace(post, db=connections[ordinal], limiter=own_limiter).send(planned.run_id, [ordinal])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, planned.ordinals))
    started_at, first_batch = min(sent)
    ended_at = max(sent)[0]
    measured = (sum(size for _, size in sent) - first_batch) / (ended_at - started_at)
    assert post.states() == {"sent": 400}
    assert measured == pytest.approx(pace, rel=0.06)
