"""Senders of several runs take turns in the slots of one queue."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dev.stack.stack import Stack
from etl.catalog.queues import EMAILS
from etl.clients import rate_limits
from etl.db import locks
from etl.db.connection import Connection
from etl.errors import RetryAfter
from etl.notify.pacing import SendingPaused
from etl.notify.slots import turns as module
from etl.notify.slots.sender import OthersSend, send_run
from etl.notify.slots.turns import SenderId, TurnOver, Turns, TurnsUnavailable
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import NoticeHarness

_run_ids = count(1_000)


class Clock:
    """A clock that stands still until it is set, in seconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def milliseconds(self) -> int:
        return int(self.now * 1_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(stack: Stack, clock: Clock) -> Iterator[Turns]:
    """Return the turns of a queue with two slots."""
    with rate_limits.open_server(Endpoint.from_environment("limits", stack.environment)) as server:
        yield Turns(server, replace(EMAILS, name=f"q{uuid4().hex}", slots=2), clock=clock.milliseconds)


def senders(number: int = 2) -> list[SenderId]:
    run_id = next(_run_ids)
    return [SenderId(run_id, each) for each in range(number)]


def begin(turns: Turns, *these: SenderId, stopped: Collection[int] = ()) -> None:
    for sender in these:
        turns.begin(sender, stopped=stopped)


def looks(turns: Turns, sender: SenderId, *, stopped: Collection[int] = ()) -> bool:
    """Return whether a sender keeps its slot."""
    try:
        turns.end_if_others_wait(sender, find_stopped=lambda: stopped)
    except TurnOver:
        return False
    return True


def is_let_in(turns: Turns, sender: SenderId) -> bool:
    try:
        turns.begin(sender, stopped=())
    except TurnOver:
        return False
    return True


def test_a_run_alone_keeps_its_slots(turns: Turns, clock: Clock) -> None:
    old = senders()
    begin(turns, *old)
    clock.now += 60
    assert all(looks(turns, sender) for sender in old)


def test_two_runs_get_a_slot_each_and_then_change_no_more(turns: Turns, clock: Clock) -> None:
    old, new = senders(), senders()
    begin(turns, *old)
    turns.enqueue(new[0].run_id, 2)
    clock.now += 14
    assert [looks(turns, sender) for sender in old] == [True, True]
    clock.now += 1
    assert [looks(turns, sender) for sender in old] == [False, True]
    begin(turns, new[1])
    clock.now += 20
    assert looks(turns, old[1])
    assert looks(turns, new[1])


def test_three_runs_take_turns_and_one_out_of_turn_gives_its_slot_back(turns: Turns, clock: Clock) -> None:
    first, second, third = senders(), senders(), senders()
    begin(turns, *first)
    turns.enqueue(second[0].run_id, 2)
    clock.now += 1
    turns.enqueue(third[0].run_id, 2)
    clock.now += 20
    assert not looks(turns, first[0])
    assert not is_let_in(turns, third[0])
    begin(turns, second[0])
    assert not looks(turns, first[1])
    assert not is_let_in(turns, first[0])
    begin(turns, third[0])
    clock.now += 20
    assert not looks(turns, second[0])
    begin(turns, first[0])
    clock.now += 20
    assert not looks(turns, third[0])


def test_a_paused_run_gets_no_turn(turns: Turns, clock: Clock) -> None:
    old, paused = senders(), senders()
    begin(turns, *old)
    turns.enqueue(paused[0].run_id, 2)
    clock.now += 20
    assert looks(turns, old[0], stopped=[paused[0].run_id])
    assert not looks(turns, old[0])


def test_a_sender_whose_worker_was_killed_waits_for_a_turn(turns: Turns, clock: Clock) -> None:
    old, killed = senders(1), senders(1)
    begin(turns, *old, *killed)
    clock.now += 59
    assert looks(turns, *old)
    clock.now += 2
    assert not looks(turns, *old)


def test_a_run_that_was_ended_by_hand_is_forgotten_after_some_calls(turns: Turns, clock: Clock) -> None:
    old, gone = senders(), senders(1)
    begin(turns, *old)
    turns.enqueue(gone[0].run_id, 1)
    kept = []
    for _ in range(module.MAX_CALLS + 1):
        clock.now += 20
        kept.append(looks(turns, old[0]))
        for _ in range(2):
            clock.now += 31
            looks(turns, old[1], stopped=[gone[0].run_id])
        begin(turns, old[0], stopped=[gone[0].run_id])
    assert kept == [False] * module.MAX_CALLS + [True]


@pytest.fixture
def send(post: NoticeHarness, turns: Turns) -> Callable[..., None]:
    """Return a function by which a sender sends all chunks of a run."""

    def run(run_id: int, number: int = 0) -> None:
        def send_chunk(ordinal: int, end_turn: Callable[[], None]) -> None:
            post.send(run_id, [ordinal])
            end_turn()

        send_run(post.notice, run_id, number, db=post.db, turns=turns, send_chunk=send_chunk)

    return run


def test_a_sender_sends_all_chunks_that_no_other_sends(
    post: NoticeHarness, send: Callable[..., None], connect: Callable[[], Connection]
) -> None:
    post.enrol(30)
    planned = post.plan()
    with locks.hold(connect(), f"notify.{planned.run_id}.1"), pytest.raises(OthersSend):
        send(planned.run_id)
    assert post.states() == {"sent": 20}
    send(planned.run_id)
    assert post.states() == {"sent": 30}
    assert post.run(planned.run_id).state == "done"


def test_a_chunk_that_fails_does_not_stop_the_others(post: NoticeHarness, send: Callable[..., None]) -> None:
    users = post.enrol(30)
    planned = post.plan()
    post.db.execute(
        "create function public.refuse() returns trigger language plpgsql as "
        f"'begin if new.user_id = {users[0]} then raise invalid_parameter_value; end if; return new; end';"
        "create trigger refuse before insert on notify.deliveries for each row execute function public.refuse()"
    )
    with pytest.raises(Exception, match="InvalidParameterValue"):
        send(planned.run_id)
    assert post.states() == {"sent": 20}
    post.db.execute("drop function public.refuse cascade")
    send(planned.run_id)
    assert post.states() == {"sent": 30}


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.HELD])
def test_senders_of_a_run_that_sends_nothing_give_up_their_slots_at_once(
    post: NoticeHarness, send: Callable[..., None], turns: Turns, clock: Clock, state: RunState
) -> None:
    post.enrol(30)
    planned = post.plan()
    runs.set_pace_or_state(post.db, planned.run_id, state=state)
    with pytest.raises(SendingPaused, match=state.value):
        send(planned.run_id)
    assert post.states() == {}
    others = senders()
    begin(turns, *others)
    clock.now += 20
    assert all(looks(turns, sender) for sender in others)


def test_a_paused_run_is_looked_at_ever_more_rarely_until_it_sends_again(
    post: NoticeHarness, send: Callable[..., None], clock: Clock
) -> None:
    post.enrol(30)
    run_id = post.plan().run_id
    waits = []

    def pause(_: object) -> None:
        runs.set_pace_or_state(post.db, run_id, state=RunState.PAUSED)

    for state in (RunState.PAUSED,) * 4 + (RunState.RUNNING,):
        runs.set_pace_or_state(post.db, run_id, state=state)
        if state is RunState.RUNNING:
            post.mailbox.after = pause
        with pytest.raises(SendingPaused) as raised:
            send(run_id)
        waits.append(raised.value.wait.total_seconds())
        clock.now += waits[-1]
    assert waits == [30, 60, 120, 120, 30]


def test_a_sender_leaves_its_slot_after_a_while_even_if_nobody_waits(
    post: NoticeHarness, send: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.notify.slots.sender.MAX_TURN", timedelta())
    post.enrol(30)
    planned = post.plan()
    with pytest.raises(RetryAfter, match="deploy"):
        send(planned.run_id)


@pytest.mark.parametrize("is_listening", [True, False])
def test_a_redis_that_refuses_or_is_silent_puts_off_a_sender_and_spends_no_retry(*, is_listening: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if is_listening:
            server.listen()
        client = redis.Redis(port=server.getsockname()[1], socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
        turns = Turns(client, EMAILS)
        (sender, *_) = senders()
        with pytest.raises(TurnsUnavailable, match="nothing is lost") as raised:
            turns.begin(sender, stopped=())
    assert isinstance(raised.value, RetryAfter)
