"""A retry sends the failed deliveries again, and nothing to anybody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.db import locks
from etl.db.connection import Connection
from etl.declare.notice import UnknownPolicy
from etl.notify.channels.channel import SendOutcome
from etl.notify.failed_deliveries import RunEnded
from etl.notify.send import DeliveriesDeferred
from etl.notify.store import chunks, runs
from etl.notify.store.runs import RunState
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import fail_some, failure, hurry, resend, retry, send_unfinished

Rows = Callable[..., list[tuple[object, ...]]]


def test_retry_sends_exactly_the_failed_deliveries_and_ends_the_run(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    assert check_counters(post, run_id) == {"sent": 22, "failed": 3}
    post.mailbox.arrived.clear()
    assert retry(post, run_id).deliveries == {"421": 2, "550": 1}
    assert post.run(run_id).state == "running"
    assert check_counters(post, run_id) == {"sent": 22, "deferred": 3}
    send_unfinished(post, run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, failing), 1)
    assert check_counters(post, run_id) == {"sent": 25}
    assert post.run(run_id).state == "done"


def test_retry_reopens_only_chunks_with_failed_deliveries(post: NoticeHarness) -> None:
    run_id, _ = fail_some(post)
    retry(post, run_id, "550")
    assert chunks.list_unfinished(post.db, run_id) == [2]


def test_retry_by_error_class_sends_only_those_deliveries(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    post.mailbox.arrived.clear()
    assert retry(post, run_id, "421", "nothing").deliveries == {"421": 2}
    send_unfinished(post, run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, failing[:2]), 1)
    assert check_counters(post, run_id) == {"sent": 24, "failed": 1}


def test_dry_run_returns_the_same_counts_and_changes_nothing(post: NoticeHarness, rows: Rows) -> None:
    run_id, _ = fail_some(post)
    before = rows("select * from notify.deliveries order by 1"), rows("select * from notify.chunks order by 2")
    dry = retry(post, run_id, dry_run=True)
    assert before == (
        rows("select * from notify.deliveries order by 1"),
        rows("select * from notify.chunks order by 2"),
    )
    assert dry.deliveries == retry(post, run_id).deliveries


def test_delivery_that_fails_twice_is_counted_once_and_can_be_retried(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    post.mailbox.answers = {address(failing[0]): [failure("421")]}
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 24, "failed": 1}
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 25}
    assert max(post.mailbox.addresses.values()) == 1


def test_retry_sends_nothing_to_users_who_became_reachable_since_the_run(post: NoticeHarness, db: Connection) -> None:
    unreachable, silent, outside, *_ = post.enrol(5)
    db.execute("delete from notify.contacts where user_id = any(%s)", ([unreachable, silent],))
    db.execute("update core.provider_accounts set state = 'suspended' where user_id = %s", (outside,))
    run_id, _ = fail_some(post)
    assert check_counters(post, run_id) == {"sent": 24, "failed": 3, "unreachable": 2}
    db.execute(
        "insert into notify.contacts (user_id, channel, address) values (%s, 'email', 'new@bank.example')",
        (unreachable,),
    )
    db.execute("update core.provider_accounts set state = 'active' where user_id = %s", (outside,))
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert not {"new@bank.example", address(outside)} & set(post.mailbox.addresses)
    assert check_counters(post, run_id) == {"sent": 27, "unreachable": 2}


def test_retry_checks_consent_address_and_audience_again(post: NoticeHarness, db: Connection, rows: Rows) -> None:
    run_id, (refusing, moved, gone) = fail_some(post)
    db.execute("insert into notify.consents values (%s, 'reports', false)", (refusing,))
    db.execute("update notify.contacts set ended_at = now() where user_id = %s", (moved,))
    db.execute("update core.provider_accounts set state = 'suspended' where user_id = %s", (gone,))
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 22, "failed": 2, "suppressed": 1}
    assert rows(
        "select user_id, state::text, error_class from notify.deliveries where state <> 'sent' order by user_id"
    ) == [(refusing, "suppressed", "no_consent"), (moved, "failed", "no_address"), (gone, "failed", "not_in_audience")]


def test_retry_of_a_half_sent_run_sends_its_failed_and_remaining_deliveries(post: NoticeHarness) -> None:
    users = post.enrol(30)
    post.notice = replace(FAST, pace=10, chunk_size=100)
    post.mailbox.answers = {address(users[1]): [failure("421")]}
    planned = post.plan()
    batches = 0

    def pause(_: object) -> None:
        nonlocal batches
        batches += 1
        if batches == 6:
            runs.set_pace_or_state(post.db, planned.run_id, state=RunState.PAUSED)

    post.mailbox.after = pause
    with pytest.raises(Exception, match="paused"):
        post.send(planned.run_id)
    post.mailbox.after = lambda _: None
    assert retry(post, planned.run_id).total == 1
    assert post.run(planned.run_id).state == "paused"
    runs.set_pace_or_state(post.db, planned.run_id, state=RunState.RUNNING, pace=1_000)
    post.send(planned.run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, users), 1)
    assert check_counters(post, planned.run_id) == {"sent": 30}


@pytest.mark.usefixtures("long_backoff")
def test_retry_with_an_unavailable_server_loses_nothing(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    post.mailbox.answers = {address(user): [SendOutcome.DEFERRED] for user in failing}
    retry(post, run_id)
    for ordinal in chunks.list_unfinished(post.db, run_id):
        with pytest.raises(DeliveriesDeferred):
            post.send(run_id, [ordinal])
    assert check_counters(post, run_id) == {"sent": 22, "deferred": 3}
    assert hurry(post, run_id).deliveries == {"451": 3}
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 25}
    assert max(post.mailbox.addresses.values()) == 1


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (UnknownPolicy.HOLD, {"sent": 22, "unknown": 2, "failed": 1}),
        (UnknownPolicy.RESEND, {"sent": 23, "unknown": 1, "failed": 1}),
    ],
)
def test_killed_retry_leaves_only_its_claims_in_doubt_and_keeps_older_doubts(
    post: NoticeHarness, db: Connection, policy: UnknownPolicy, expected: dict[str, int]
) -> None:
    post.notice = replace(FAST, unknown=UnknownPolicy.HOLD, chunk_size=100)
    users = post.enrol(25)
    post.mailbox.answers = {
        address(users[2]): [failure("421")],
        address(users[5]): [failure("550")],
        address(users[9]): [SendOutcome.UNKNOWN],
    }
    run_id = post.send_all().run_id
    retry(post, run_id, "421")
    post.notice = replace(post.notice, unknown=policy)
    db.execute("update notify.deliveries set state = 'claimed' where state = 'deferred'")
    db.execute("update notify.chunks set deferred = 0")
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == expected
    assert max(post.mailbox.addresses.values()) == 1


def test_retry_skips_chunks_that_are_being_sent_and_reopens_the_rest(
    post: NoticeHarness, connect: Callable[[], Connection]
) -> None:
    run_id, _ = fail_some(post)
    sender = connect()
    with locks.hold(sender, f"notify.{run_id}.1"):
        changes = retry(post, run_id)
    assert changes.busy_chunks == [1]
    assert changes.deliveries == {"421": 1, "550": 1}
    assert check_counters(post, run_id) == {"sent": 22, "failed": 1, "deferred": 2}


def test_second_retry_finds_no_failed_deliveries(post: NoticeHarness) -> None:
    run_id, _ = fail_some(post)
    assert retry(post, run_id).total == 3
    assert retry(post, run_id).total == 0
    assert check_counters(post, run_id) == {"sent": 22, "deferred": 3}


def test_second_retry_before_the_first_was_sent_adds_to_it(post: NoticeHarness) -> None:
    post.notice = replace(FAST, chunk_size=100)
    users = post.enrol(25)
    post.db.execute("delete from notify.contacts where user_id = %s", (users[-1],))
    post.mailbox.answers = {address(users[1]): [failure("421")], address(users[19]): [failure("550")]}
    run_id = post.send_all().run_id
    retry(post, run_id, "550")
    retry(post, run_id, "421")
    post.mailbox.arrived.clear()
    send_unfinished(post, run_id)
    assert post.mailbox.addresses == {address(users[1]): 1, address(users[19]): 1}
    assert check_counters(post, run_id) == {"sent": 24, "unreachable": 1}


def test_a_run_that_was_cancelled_or_has_expired_is_not_retried(post: NoticeHarness, db: Connection) -> None:
    run_id, _ = fail_some(post)
    db.execute("update notify.runs set expires_at = now()")
    with pytest.raises(RunEnded, match=r"run \d+ expired at .* UTC, so nothing was changed"):
        retry(post, run_id)
    db.execute("update notify.runs set expires_at = null, state = 'cancelled'")
    for step in (retry, resend):
        with pytest.raises(RunEnded, match="was cancelled, so nothing was changed"):
            step(post, run_id)
    assert check_counters(post, run_id) == {"sent": 22, "failed": 3}


def test_a_retry_keeps_the_expiry_of_its_run(post: NoticeHarness, db: Connection) -> None:
    run_id, _ = fail_some(post)
    db.execute("update notify.runs set expires_at = now() + interval '1 hour'")
    retry(post, run_id)
    db.execute("update notify.runs set expires_at = now() - interval '1 second'")
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 22, "expired": 3}
    assert post.run(run_id).expires_at is not None
