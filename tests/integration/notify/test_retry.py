"""What failed is tried again, and what is in doubt is decided on; nobody else gets anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.db import locks
from etl.db.connection import Connection
from etl.declare.notice import UnknownPolicy
from etl.notify.channels.channel import SendOutcome
from etl.notify.delivery import ChannelUnavailable
from etl.notify.retry import RunEnded
from etl.notify.store import chunks, runs
from etl.notify.store.runs import RunState
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import fail_some, failure, resend, retry, send_unfinished

Rows = Callable[..., list[tuple[object, ...]]]


def test_exactly_what_failed_is_sent_again_and_the_run_is_done_again(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    assert check_counters(post, run_id) == {"sent": 22, "failed": 3}
    post.mailbox.arrived.clear()
    assert retry(post, run_id).deliveries == {"421": 2, "550": 1}
    assert post.run(run_id).state == "running"
    assert check_counters(post, run_id) == {"sent": 22, "reopened": 3}
    send_unfinished(post, run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, failing), 1)
    assert check_counters(post, run_id) == {"sent": 25}
    assert post.run(run_id).state == "done"


def test_only_chunks_with_something_to_send_are_opened(post: NoticeHarness) -> None:
    run_id, _ = fail_some(post)
    retry(post, run_id, "550")
    assert chunks.list_unfinished(post.db, run_id) == [2]


def test_only_what_failed_for_the_reasons_that_are_named_is_sent_again(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    post.mailbox.arrived.clear()
    assert retry(post, run_id, "421", "nothing").deliveries == {"421": 2}
    send_unfinished(post, run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, failing[:2]), 1)
    assert check_counters(post, run_id) == {"sent": 24, "failed": 1}


def test_a_dry_run_tells_the_same_and_changes_nothing(post: NoticeHarness, rows: Rows) -> None:
    run_id, _ = fail_some(post)
    before = rows("select * from notify.deliveries order by 1"), rows("select * from notify.chunks order by 2")
    told = retry(post, run_id, dry_run=True)
    assert before == (
        rows("select * from notify.deliveries order by 1"),
        rows("select * from notify.chunks order by 2"),
    )
    assert told.deliveries == retry(post, run_id).deliveries


def test_what_fails_again_is_counted_once_and_can_be_retried_again(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    post.mailbox.answers = {address(failing[0]): [failure("421")]}
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 24, "failed": 1}
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 25}
    assert max(post.mailbox.addresses.values()) == 1


def test_who_came_to_the_audience_or_got_an_address_meanwhile_is_not_told_by_a_retry(
    post: NoticeHarness, db: Connection
) -> None:
    unreachable, silent, outside, *_ = post.enrol(5)
    db.execute("delete from notify.contacts where user_id = any(%s)", ([unreachable, silent],))
    db.execute("update core.provider_accounts set state = 'stopped', stopped_at = now() where user_id = %s", (outside,))
    run_id, _ = fail_some(post)
    assert check_counters(post, run_id) == {"sent": 24, "failed": 3, "unreachable": 2}
    db.execute(
        "insert into notify.contacts (user_id, channel, address) values (%s, 'email', 'new@bank.example')",
        (unreachable,),
    )
    db.execute("update core.provider_accounts set state = 'active', stopped_at = null where user_id = %s", (outside,))
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert not {"new@bank.example", address(outside)} & set(post.mailbox.addresses)
    assert check_counters(post, run_id) == {"sent": 27, "unreachable": 2}


def test_consent_suppression_and_addresses_are_read_again(post: NoticeHarness, db: Connection, rows: Rows) -> None:
    run_id, (refusing, moved, gone) = fail_some(post)
    db.execute("insert into notify.consents values (%s, 'reports', false)", (refusing,))
    db.execute("update notify.contacts set ended_at = now() where user_id = %s", (moved,))
    db.execute("update core.provider_accounts set state = 'stopped', stopped_at = now() where user_id = %s", (gone,))
    retry(post, run_id)
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 22, "failed": 2, "suppressed": 1}
    assert rows(
        "select user_id, state::text, error_class from notify.deliveries where state <> 'sent' order by user_id"
    ) == [(refusing, "suppressed", "no_consent"), (moved, "failed", "no_address"), (gone, "failed", "not_in_audience")]


def test_what_failed_of_a_run_that_is_half_sent_is_retried_while_the_rest_is_sent_as_usual(post: NoticeHarness) -> None:
    users = post.enrol(30)
    post.notice = replace(FAST, pace=10, chunk_size=100)
    post.mailbox.answers = {address(users[1]): [failure("421")]}
    planned = post.plan()
    lots = 0

    def pause(_: object) -> None:
        nonlocal lots
        lots += 1
        if lots == 6:
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


def test_a_retry_that_the_server_does_not_take_loses_nothing(post: NoticeHarness) -> None:
    run_id, failing = fail_some(post)
    post.mailbox.answers = {address(user): [SendOutcome.DEFERRED] * 3 for user in failing}
    retry(post, run_id)
    with pytest.raises(ChannelUnavailable):
        send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 22, "reopened": 3}
    post.mailbox.answers = {}
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == {"sent": 25}
    assert max(post.mailbox.addresses.values()) == 1


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (UnknownPolicy.HOLD, {"sent": 22, "unknown": 2, "failed": 1}),
        (UnknownPolicy.RESEND, {"sent": 23, "unknown": 1, "failed": 1}),
    ],
)
def test_of_a_retry_that_is_killed_only_what_it_had_claimed_is_in_doubt_and_older_doubts_stay(
    post: NoticeHarness, db: Connection, policy: UnknownPolicy, left: dict[str, int]
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
    db.execute(
        "update notify.deliveries set state = 'claimed', claimed_at = clock_timestamp() where state = 'reopened'"
    )
    db.execute(
        "update notify.chunks as c set reopened = 0, claimed_from = d.delivery_id, claimed_to = d.delivery_id "
        "from notify.deliveries as d where d.state = 'claimed'"
    )
    send_unfinished(post, run_id)
    assert check_counters(post, run_id) == left
    assert max(post.mailbox.addresses.values()) == 1


def test_where_a_sender_is_at_work_nothing_is_changed_and_the_rest_is_reopened(
    post: NoticeHarness, connect: Callable[[], Connection]
) -> None:
    run_id, _ = fail_some(post)
    sender = connect()
    with locks.hold(sender, f"notify.{run_id}.1"):
        found = retry(post, run_id)
    assert found.busy_chunks == [1]
    assert found.deliveries == {"421": 1, "550": 1}
    assert check_counters(post, run_id) == {"sent": 22, "failed": 1, "reopened": 2}


def test_a_second_retry_finds_nothing_that_failed(post: NoticeHarness) -> None:
    run_id, _ = fail_some(post)
    assert retry(post, run_id).total == 3
    assert retry(post, run_id).total == 0
    assert check_counters(post, run_id) == {"sent": 22, "reopened": 3}


def test_a_second_retry_while_the_first_is_half_walked_opens_the_chunk_from_its_beginning(post: NoticeHarness) -> None:
    post.notice = replace(FAST, chunk_size=100)
    users = post.enrol(25)
    post.db.execute("delete from notify.contacts where user_id = %s", (users[-1],))
    post.mailbox.answers = {address(users[1]): [failure("421")], address(users[19]): [failure("550")]}
    run_id = post.send_all().run_id
    retry(post, run_id, "550")
    post.db.execute("update notify.chunks set position = 15")
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
