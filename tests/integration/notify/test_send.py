"""Every recipient gets one message, whatever the server answers and whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from etl.catalog.channels import EMAIL
from etl.db.connection import Connection
from etl.db.locks import LockTaken
from etl.declare.notice import UnknownPolicy
from etl.notify.channels.channel import SendOutcome
from etl.notify.store import runs
from etl.notify.templates import Templates
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address

Rows = Callable[..., list[tuple[object, ...]]]


def test_every_recipient_gets_one_message_and_the_run_is_done(post: NoticeHarness) -> None:
    users = post.enrol(25)
    planned = post.send_all()
    assert post.mailbox.addresses == dict.fromkeys(map(address, users), 1)
    assert post.states() == {"sent": 25}
    assert post.totals(planned.run_id) == {"chunks": 3, "chunks_finished": 3, "recipients": 25, "sent": 25}
    assert post.run(planned.run_id).state == "done"


def test_message_is_rendered_from_its_templates(post: NoticeHarness) -> None:
    post.enrol(1)
    post.send_all()
    (message,) = post.mailbox.arrived
    assert message.parts["subject"] == "Your spending in October 2026"
    assert "In October 2026 no money left your accounts." in message.parts["text"]
    assert "<title>Your spending in October 2026</title>" in message.parts["html"]


def test_finished_chunk_is_not_sent_again(post: NoticeHarness) -> None:
    post.enrol(5)
    planned = post.send_all()
    post.send(planned.run_id)
    assert len(post.mailbox.arrived) == 5


def test_second_trigger_of_a_period_has_nothing_to_send(post: NoticeHarness) -> None:
    post.enrol(5)
    first = post.plan(trigger="first")
    assert post.plan(trigger="second").ordinals == []
    assert post.plan(trigger="first") == first


def test_another_run_of_the_same_period_sends_nothing_twice(post: NoticeHarness, db: Connection) -> None:
    post.enrol(5)
    post.send_all()
    db.execute("update notify.runs set period = 'forgotten'")
    newcomers = post.enrol(2)
    planned = post.send_all()
    assert max(post.mailbox.addresses.values()) == 1
    assert {address(user) for user in newcomers} <= set(post.mailbox.addresses)
    assert {"sent": 2, "repeated": 5}.items() <= post.totals(planned.run_id).items()


def test_claim_is_on_disk_before_its_message_is_sent(post: NoticeHarness, rows: Rows) -> None:
    post.enrol(1)
    assert rows("show synchronous_commit") == [("off",)]
    settings: list[object] = []
    post.mailbox.before = lambda _: settings.extend(rows("show synchronous_commit"))
    post.send_all()
    assert settings == [("on",)]


@pytest.mark.parametrize("stage", ["sending", "rendering"])
def test_sender_that_ran_out_of_memory_continues_with_half_the_page(
    post: NoticeHarness, db: Connection, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    post.enrol(20)
    post.notice = replace(FAST, pace=1_000, chunk_size=100)
    planned = post.plan()
    db.execute("update notify.chunks set page_limit = 8")

    def run_out(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        target, name = (post.mailbox, "before") if stage == "sending" else (Templates, "render")
        patched.setattr(target, name, run_out)
        post.send(planned.run_id)
    post.mailbox.batch_sizes.clear()
    post.send(planned.run_id)
    assert post.mailbox.batch_sizes == [4] * (3 if stage == "sending" else 5)
    assert post.totals(planned.run_id)["chunks_finished"] == 1


def test_second_concurrent_sender_of_a_chunk_is_refused(post: NoticeHarness, connect: Callable[[], Connection]) -> None:
    post.enrol(5)
    planned = post.plan()
    other = replace(post, db=connect())
    refused = []

    def send_concurrently(_: object) -> None:
        with pytest.raises(LockTaken) as raised:
            other.send(planned.run_id)
        refused.append(raised)

    post.mailbox.before = send_concurrently
    post.send(planned.run_id)
    assert len(refused) == 1
    assert post.states() == {"sent": 5}
    assert len(post.mailbox.arrived) == 5


@pytest.mark.usefixtures("short_backoff")
def test_deferred_messages_are_sent_once_while_the_rest_of_the_chunk_goes_on(post: NoticeHarness) -> None:
    users = post.enrol(12)
    post.notice = replace(FAST, pace=4, chunk_size=100)
    planned = post.plan()
    runs.set_pace_or_state(post.db, planned.run_id, pace=1_000)
    post.db.execute("update notify.chunks set page_limit = 4")
    post.mailbox.answers = {address(users[0]): [SendOutcome.DEFERRED], address(users[1]): [SendOutcome.DEFERRED] * 3}
    post.send(planned.run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, users), 1)
    assert check_counters(post, planned.run_id) == {"sent": 12}
    assert post.run(planned.run_id).state == "done"


@pytest.mark.parametrize(
    ("policy", "states", "doubts"),
    [(UnknownPolicy.RESEND, {"sent": 2}, 1), (UnknownPolicy.HOLD, {"sent": 1, "unknown": 1}, 1)],
)
@pytest.mark.usefixtures("short_backoff")
def test_notice_policy_decides_whether_a_message_in_doubt_is_resent(
    post: NoticeHarness, rows: Rows, policy: UnknownPolicy, states: dict[str, int], doubts: int
) -> None:
    user, _ = post.enrol(2)
    post.notice = replace(FAST, unknown=policy)
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN]}
    planned = post.send_all()
    assert post.states() == states
    assert rows("select doubts from notify.deliveries where user_id = %s", user) == [(doubts,)]
    assert states.items() <= post.totals(planned.run_id).items()


@pytest.mark.usefixtures("short_backoff")
def test_message_that_may_have_arrived_never_counts_as_failed(post: NoticeHarness) -> None:
    user, _ = post.enrol(2)
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND, max_tries=3)
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN, SendOutcome.DEFERRED, SendOutcome.DEFERRED]}
    post.send_all()
    assert post.states() == {"sent": 1, "unknown": 1}


@pytest.mark.usefixtures("short_backoff")
def test_message_that_stays_in_doubt_is_sent_three_times_at_most(post: NoticeHarness, rows: Rows) -> None:
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)
    (user,) = post.enrol(1)
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN] * 9}
    planned = post.send_all()
    assert len(post.mailbox.answers[address(user)]) == 6
    assert rows("select doubts from notify.deliveries") == [(3,)]
    assert check_counters(post, planned.run_id) == {"unknown": 1}


def test_broken_channel_leaves_only_its_current_batch_in_doubt(post: NoticeHarness) -> None:
    post.enrol(12)
    post.notice = replace(FAST, pace=12, chunk_size=100, unknown=UnknownPolicy.HOLD)
    planned = post.plan()

    def break_off(_: object) -> None:
        if len(post.mailbox.batch_sizes) == 2:
            raise ConnectionResetError

    post.mailbox.before = break_off
    with pytest.raises(ConnectionResetError):
        post.send(planned.run_id)
    assert post.mailbox.batch_sizes == [3, 3]
    assert post.states() == {"sent": 3, "claimed": 3}
    post.send(planned.run_id)
    assert post.states() == {"sent": 9, "unknown": 3}
    assert max(post.mailbox.addresses.values()) == 1
    assert {"sent": 9, "unknown": 3}.items() <= post.totals(planned.run_id).items()


def test_error_between_batches_leaves_nothing_in_doubt(post: NoticeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    post.enrol(12)
    post.notice = replace(FAST, pace=12, chunk_size=100)
    planned = post.plan()
    take = post.limiter.take

    def lose_the_limiter(*values: Any, **options: Any) -> timedelta:
        if post.mailbox.batch_sizes:
            raise redis.ConnectionError
        return take(*values, **options)

    monkeypatch.setattr(post.limiter, "take", lose_the_limiter)
    with pytest.raises(redis.ConnectionError):
        post.send(planned.run_id)
    assert post.states() == {"sent": 3}
    monkeypatch.undo()
    post.send(planned.run_id)
    assert post.states() == {"sent": 12}
    assert max(post.mailbox.addresses.values()) == 1


def test_messages_that_expire_while_waiting_are_not_sent(post: NoticeHarness, db: Connection) -> None:
    post.enrol(20)
    post.notice = replace(FAST, pace=10, chunk_size=100, expiry=timedelta(days=1))
    planned = post.plan()
    db.execute("update notify.runs set expires_at = clock_timestamp() + interval '0.5 seconds'")
    post.send(planned.run_id)
    states = post.states()
    assert states["sent"] + states["expired"] == 20
    assert 0 < states["sent"] < 10
    assert post.totals(planned.run_id)["expired"] == states["expired"]


def test_ledger_records_the_end_of_a_message_with_a_hot_update(post: NoticeHarness, rows: Rows, db: Connection) -> None:
    post.enrol(2_000)
    post.notice = replace(FAST, pace=100_000, chunk_size=2_000, channels=(replace(EMAIL, pace=100_000),))
    post.send_all()
    db.execute("select pg_stat_force_next_flush()")
    ((updates, hot_updates),) = rows(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'notify.deliveries'::regclass"
    )
    assert updates == 2_000
    assert hot_updates == pytest.approx(updates, rel=0.02)
