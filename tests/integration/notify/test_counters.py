"""Recipients times channels are what came of a run, whatever interrupts it and whatever its audience holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.notices.fraud_alert.notice import FRAUD_ALERT
from etl.db.connection import Connection
from etl.declare.notice import UnknownPolicy
from etl.notify import delivery, pacing
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.pacing import SendingPaused
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from tests.integration.notify.bank_data import add_contact, add_payment, add_usual_payments, days_ago, login_of
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import failure, retry, send_unfinished

ENDED = replace(failure("550"), is_address_invalid=True)


@pytest.fixture
def _watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MAX_PAUSE", timedelta(0))
    monkeypatch.setattr(pacing, "REFRESH_INTERVAL", timedelta(milliseconds=1))


@pytest.mark.usefixtures("_watchful")
@pytest.mark.parametrize("unknown", UnknownPolicy)
def test_an_address_that_ends_before_its_page_does_is_counted_once(
    post: NoticeHarness, connect: Callable[[], Connection], unknown: UnknownPolicy
) -> None:
    operator = connect()
    ids = post.enrol(12)
    post.notice = replace(FAST, pace=10, chunk_size=100, unknown=unknown)
    planned = post.plan()
    post.mailbox.answers = {address(ids[0]): [ENDED]}
    post.mailbox.after = lambda _: _pause(operator, planned.run_id)
    with pytest.raises(SendingPaused):
        post.send(planned.run_id)
    post.mailbox.after = lambda _: None
    runs.set_pace_or_state(operator, planned.run_id, state=RunState.RUNNING, pace=1_000)
    post.send(planned.run_id)
    assert check_counters(post, planned.run_id) == {"sent": 11, "failed": 1}


@pytest.mark.usefixtures("_watchful")
def test_what_is_retried_before_its_page_ended_and_has_no_address_is_counted_once(
    post: NoticeHarness, connect: Callable[[], Connection]
) -> None:
    operator = connect()
    ids = post.enrol(12)
    post.notice = replace(FAST, pace=10, chunk_size=100)
    planned = post.plan()
    post.mailbox.answers = {address(ids[0]): [SendResult(0, SendOutcome.FAILED, "421", "no")]}
    post.mailbox.after = lambda _: _pause(operator, planned.run_id)
    with pytest.raises(SendingPaused):
        post.send(planned.run_id)
    post.mailbox.after = lambda _: None
    assert retry(post, planned.run_id).total == 1
    post.db.execute("update notify.contacts set ended_at = now() where user_id = %s", (ids[0],))
    runs.set_pace_or_state(operator, planned.run_id, state=RunState.RUNNING, pace=1_000)
    send_unfinished(post, planned.run_id)
    assert check_counters(post, planned.run_id) == {"sent": 11, "failed": 1}


def test_what_may_have_arrived_is_unknown_and_not_expired(post: NoticeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BACKOFF_STEP", timedelta(seconds=1))
    (user,) = post.enrol(1)
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)
    planned = post.plan()
    post.db.execute("update notify.runs set expires_at = clock_timestamp() + interval '0.8 seconds'")
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN]}
    post.send(planned.run_id)
    assert check_counters(post, planned.run_id) == {"unknown": 1}


def test_what_may_have_arrived_is_unknown_and_not_failed_though_it_is_refused_later(post: NoticeHarness) -> None:
    (user,) = post.enrol(1)
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN, SendResult(0, SendOutcome.FAILED, "550", "no")]}
    planned = post.send_all()
    assert check_counters(post, planned.run_id) == {"unknown": 1}
    assert retry(post, planned.run_id).total == 0, "nobody is sure that they did not get it"


def test_a_payment_that_is_pending_and_posted_at_once_is_told_once_and_counted(post: NoticeHarness) -> None:
    db = post.db
    post.notice = replace(FRAUD_ALERT, pace=1_000)
    user, refused = post.enrol(2)
    for each in (user, refused):
        login = login_of(db, each)
        add_contact(db, each, "push", f"the phone of {each}")
        add_usual_payments(db, login)
        pending = add_payment(db, login, "300", on=days_ago(0), pending=True)
        add_payment(db, login, "300", on=days_ago(0), was_pending=pending)
    db.execute(
        "insert into notify.suppressions (address, channel, reason) values (%s, 'email', 'bounced')",
        (address(refused),),
    )
    planned = post.send_all(period="2026-10-20T08:00:00Z")
    assert max(post.mailbox.addresses.values()) == 1
    totals = runs.read_totals(db, planned.run_id)
    assert (totals["sent"], totals["suppressed"], totals["repeated"]) == (3, 1, 4)
    assert sum(totals[name] for name in ("sent", "suppressed", "repeated")) == 2 * totals["recipients"]


def _pause(operator: Connection, run_id: int) -> None:
    runs.set_pace_or_state(operator, run_id, state=RunState.PAUSED)
