"""A delivery that cannot be made now waits, and the rest of its chunk is sent meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.db.connection import Connection
from etl.declare.notice import Channel, UnknownPolicy
from etl.notify import pacing
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.deferral.gate import Hold
from etl.notify.pacing import SendingPaused
from etl.notify.plan import PlannedRun
from etl.notify.send import DeliveriesDeferred, send
from etl.notify.store import deferrals, runs
from etl.notify.store.deliveries import ClaimedDelivery, DeferralReason
from etl.notify.store.runs import RunState
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address, stop_logins
from tests.integration.notify.retried_runs import failure, hurry

Rows = Callable[..., list[tuple[object, ...]]]
LATER = SendOutcome.DEFERRED

pytestmark = pytest.mark.usefixtures("long_backoff")


def defer(post: NoticeHarness, *answers: SendResult | SendOutcome, users: int = 3) -> tuple[PlannedRun, list[int]]:
    """Send a run whose first user gets these answers, and is deferred; return it and its users."""
    ids = post.enrol(users)
    post.mailbox.answers = {address(ids[0]): list(answers or [LATER])}
    planned = post.plan()
    with pytest.raises(DeliveriesDeferred):
        post.send(planned.run_id)
    return planned, ids


def let_be_due(post: NoticeHarness, planned: PlannedRun) -> None:
    hurry(post, planned.run_id)
    with suppress(DeliveriesDeferred):
        post.send(planned.run_id)


def test_chunk_with_deferred_messages_is_rescheduled_until_the_first_is_due(post: NoticeHarness, rows: Rows) -> None:
    answer = SendResult(0, LATER, "421", "try again later", destination="bank.example", retry_after=timedelta(hours=1))
    users = post.enrol(3)
    post.mailbox.answers = {address(users[0]): [answer]}
    planned = post.plan()
    with pytest.raises(DeliveriesDeferred, match="in chunk 0 of run 1, 1 delivery waits for another try") as raised:
        post.send(planned.run_id)
    assert raised.value.wait == timedelta(minutes=5)
    assert check_counters(post, planned.run_id) == {"sent": 2, "deferred": 1}
    assert rows(
        "select reason, destination, tries, error_class, not_before >= now() + '59 min' from notify.deferrals"
    ) == [("retry", "bank.example", 1, "421", True)]
    assert rows("select error from notify.deliveries where state = 'deferred'") == [("try again later",)]
    with pytest.raises(DeliveriesDeferred):
        post.send(planned.run_id)
    assert len(post.mailbox.arrived) == 2, "it is not due"
    assert post.run(planned.run_id).state == "running"


def test_deferred_message_is_rendered_for_its_own_recipient(post: NoticeHarness) -> None:
    planned, users = defer(post)
    post.mailbox.arrived.clear()
    let_be_due(post, planned)
    assert [message.address for message in post.mailbox.arrived] == [address(users[0])]
    assert post.mailbox.arrived[0].parts["subject"] == "Your money in October 2026"


def test_consent_suppression_address_and_audience_are_judged_again_at_each_try(
    post: NoticeHarness, db: Connection, rows: Rows
) -> None:
    users = post.enrol(6)
    post.mailbox.answers = {address(user): [LATER] for user in users}
    planned = post.plan()
    with pytest.raises(DeliveriesDeferred):
        post.send(planned.run_id)
    refusing, suppressed, moved, gone, deleted, staying = users
    db.execute("insert into notify.consents values (%s, 'reports', false)", (refusing,))
    db.execute("insert into notify.suppressions values (%s, 'email', 'bounced')", (address(suppressed),))
    db.execute("update notify.contacts set ended_at = now() where user_id = %s", (moved,))
    stop_logins(db, gone)
    db.execute("delete from core.provider_accounts where user_id = %s", (deleted,))
    db.execute("delete from core.users where user_id = %s", (deleted,))
    let_be_due(post, planned)
    assert rows("select user_id, state::text, error_class from notify.deliveries order by user_id") == [
        (refusing, "suppressed", "no_consent"),
        (suppressed, "suppressed", "suppressed_address"),
        (moved, "failed", "no_address"),
        (gone, "failed", "not_in_audience"),
        (deleted, "suppressed", "user_deleted"),
        (staying, "sent", None),
    ]
    check_counters(post, planned.run_id)


def test_message_fails_with_its_last_answer_when_its_tries_are_used_up(post: NoticeHarness, rows: Rows) -> None:
    post.notice = replace(FAST, max_tries=2)
    planned, _ = defer(post, LATER, SendResult(0, LATER, "452", "it is full"))
    let_be_due(post, planned)
    assert rows("select error_class, error from notify.deliveries where state = 'failed'") == [("452", "it is full")]
    assert check_counters(post, planned.run_id) == {"sent": 2, "failed": 1}


def test_message_fails_when_its_patience_is_used_up(post: NoticeHarness, db: Connection) -> None:
    post.notice = replace(FAST, patience=timedelta(hours=2))
    planned, _ = defer(post, LATER, LATER)
    db.execute("update notify.deferrals set first_tried_at = now() - interval '2 hours'")
    let_be_due(post, planned)
    assert check_counters(post, planned.run_id) == {"sent": 2, "failed": 1}


@pytest.mark.parametrize("is_noticed", ["when it is deferred", "when it is due"])
def test_message_that_would_come_too_late_expires_with_its_last_answer(
    post: NoticeHarness, db: Connection, rows: Rows, is_noticed: str
) -> None:
    post.notice = replace(FAST, expiry=timedelta(minutes=30))
    wait = timedelta(hours=1) if is_noticed == "when it is deferred" else None
    users = post.enrol(1)
    post.mailbox.answers = {address(users[0]): [SendResult(0, LATER, "450", "greylisted", retry_after=wait)]}
    planned = post.plan()
    with suppress(DeliveriesDeferred):
        post.send(planned.run_id)
    if wait is None:
        assert rows("select not_before < r.expires_at from notify.deferrals, notify.runs as r") == [(True,)]
        db.execute("update notify.runs set expires_at = clock_timestamp()")
        db.execute("update notify.deferrals set not_before = now()")
        post.send(planned.run_id)
    assert rows("select state::text, error_class, error from notify.deliveries") == [("expired", "450", "greylisted")]
    assert check_counters(post, planned.run_id) == {"expired": 1}


def test_message_in_doubt_is_never_failed_or_expired_by_what_happens_later(post: NoticeHarness, db: Connection) -> None:
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)
    planned, _ = defer(post, SendOutcome.UNKNOWN)
    db.execute("update notify.contacts set ended_at = now()")
    let_be_due(post, planned)
    assert check_counters(post, planned.run_id) == {"sent": 2, "unknown": 1}


@pytest.mark.parametrize("moment", ["while they wait", "while they are sent"])
def test_cancelled_run_ends_its_deferred_messages(
    post: NoticeHarness, connect: Callable[[], Connection], moment: str
) -> None:
    operator = connect()
    planned, _ = defer(post, LATER, LATER, users=20)

    def cancel(_: object) -> None:
        runs.set_pace_or_state(operator, planned.run_id, state=RunState.CANCELLED)

    if moment == "while they are sent":
        post.mailbox.after = cancel
        let_be_due(post, planned)
        post.send(planned.run_id)
    else:
        cancel(None)
    totals = runs.read_totals(post.db, planned.run_id)
    assert totals["deferred"] == 0
    assert check_counters(post, planned.run_id)["failed"] == 1
    assert deferrals.summarize(post.db, planned.run_id) == []


def test_paused_run_leaves_its_deferred_messages_waiting(
    post: NoticeHarness, connect: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "MAX_PAUSE", timedelta(0))
    monkeypatch.setattr(pacing, "REFRESH_INTERVAL", timedelta(0))
    operator = connect()
    planned, users = defer(post)
    hurry(post, planned.run_id)

    def pause(*_: object, **__: object) -> timedelta:
        runs.set_pace_or_state(operator, planned.run_id, state=RunState.PAUSED)
        return timedelta(milliseconds=1)

    monkeypatch.setattr(post.limiter, "take", pause)
    with pytest.raises(SendingPaused):
        post.send(planned.run_id)
    assert check_counters(post, planned.run_id) == {"sent": 2, "deferred": 1}
    monkeypatch.undo()
    runs.set_pace_or_state(operator, planned.run_id, state=RunState.RUNNING)
    post.send(planned.run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, users), 1)


def test_deferred_messages_are_sent_before_the_rest_of_the_audience(post: NoticeHarness) -> None:
    post.notice = replace(FAST, pace=1_000, chunk_size=100)
    planned, users = defer(post)
    hurry(post, planned.run_id)
    post.db.execute("update notify.chunks set position = start")
    post.db.execute("delete from notify.deliveries where user_id > %s", (users[0],))
    post.mailbox.arrived.clear()
    post.send(planned.run_id)
    assert [message.address for message in post.mailbox.arrived] == list(map(address, users))


class _Quiet:
    """A gate that holds one address back, and takes refusals for deferrals."""

    def __init__(self, held: str) -> None:
        self.held = held

    def hold(self, _: Channel, delivery: ClaimedDelivery) -> Hold | None:
        is_held = delivery.address == self.held
        return Hold(DeferralReason.QUIET_HOURS, timedelta(hours=8)) if is_held else None

    def review(self, _: Channel, results: Sequence[SendResult]) -> Sequence[SendResult]:
        return [
            replace(result, outcome=LATER, is_address_invalid=False) if result.outcome is SendOutcome.FAILED else result
            for result in results
        ]


def test_gate_holds_messages_without_a_try_and_defers_refusals(post: NoticeHarness, rows: Rows) -> None:
    held, refused, _ = post.enrol(3)
    post.mailbox.answers = {address(refused): [replace(failure("550"), is_address_invalid=True)]}
    planned = post.plan()
    gate = _Quiet(address(held))
    with pytest.raises(DeliveriesDeferred):
        send(
            post.notice,
            planned.run_id,
            0,
            db=post.db,
            limiter=post.limiter,
            senders={"email": post.mailbox},
            gates=[gate],
        )
    assert rows(
        "select d.user_id, f.reason, f.tries, f.first_tried_at is null, f.error_class from notify.deferrals as f "
        "join notify.deliveries as d using (delivery_id) order by 1"
    ) == [(held, "quiet_hours", 0, True, None), (refused, "retry", 1, False, "550")]
    assert rows("select count(*) from notify.contacts where ended_at is not null") == [(0,)]
    assert check_counters(post, planned.run_id) == {"sent": 1, "deferred": 2}


def test_the_patience_with_a_message_that_is_never_tried_runs_out_too(post: NoticeHarness, rows: Rows) -> None:
    post.enrol(1)
    not_tried = SendResult(0, SendOutcome.DEFERRED, "NotTried", "not tried since", retry_after=timedelta(hours=1))
    post.mailbox.answers = {address(1): [not_tried]}
    planned = post.plan()
    with pytest.raises(DeliveriesDeferred):
        post.send(planned.run_id)
    assert rows("select tries, first_tried_at is not null from notify.deferrals") == [(0, True)]
