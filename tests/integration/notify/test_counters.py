"""The counters of a run add up to recipients times channels, whatever interrupts it and whoever is in its audience."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.notices.fraud_alert.notice import FRAUD_ALERT
from etl.db.connection import Connection
from etl.declare.notice import UnknownPolicy
from etl.notify import pacing
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.pacing import SendingPaused
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from tests.integration.notify.bank_data import (
    add_contact,
    add_payment,
    add_usual_payments,
    days_ago,
    find_provider_account,
)
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import failure, retry, send_unfinished

INVALID_ADDRESS = replace(failure("550"), is_address_invalid=True)


@pytest.fixture
def _immediate_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MAX_PAUSE", timedelta(0))
    monkeypatch.setattr(pacing, "REFRESH_INTERVAL", timedelta(milliseconds=1))


@pytest.mark.usefixtures("_immediate_pause")
@pytest.mark.parametrize("unknown", UnknownPolicy)
def test_address_invalidated_before_its_page_ends_is_counted_once(
    post: NoticeHarness, connect: Callable[[], Connection], unknown: UnknownPolicy
) -> None:
    operator = connect()
    ids = post.enrol(12)
    post.notice = replace(FAST, pace=10, chunk_size=100, unknown=unknown)
    planned = post.plan()
    post.mailbox.answers = {address(ids[0]): [INVALID_ADDRESS]}
    post.mailbox.after = lambda _: _pause(operator, planned.run_id)
    with pytest.raises(SendingPaused):
        post.send(planned.run_id)
    post.mailbox.after = lambda _: None
    runs.set_pace_or_state(operator, planned.run_id, state=RunState.RUNNING, pace=1_000)
    post.send(planned.run_id)
    assert check_counters(post, planned.run_id) == {"sent": 11, "failed": 1}


@pytest.mark.usefixtures("_immediate_pause")
def test_retry_before_its_page_ends_and_without_an_address_is_counted_once(
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


def test_message_that_may_have_arrived_is_unknown_not_expired(post: NoticeHarness) -> None:
    (user,) = post.enrol(1)
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)
    planned = post.plan()
    post.db.execute("update notify.runs set expires_at = clock_timestamp() + interval '0.8 seconds'")
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN]}
    post.send(planned.run_id)
    assert check_counters(post, planned.run_id) == {"unknown": 1}


@pytest.mark.usefixtures("short_backoff")
def test_message_that_may_have_arrived_stays_unknown_if_it_is_refused_later(post: NoticeHarness) -> None:
    (user,) = post.enrol(1)
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)
    post.mailbox.answers = {address(user): [SendOutcome.UNKNOWN, SendResult(0, SendOutcome.FAILED, "550", "no")]}
    planned = post.send_all()
    assert check_counters(post, planned.run_id) == {"unknown": 1}
    assert retry(post, planned.run_id).total == 0, "the message may have arrived"


def test_payment_both_pending_and_posted_is_sent_once_and_counted(post: NoticeHarness) -> None:
    db = post.db
    post.notice = replace(FRAUD_ALERT, pace=1_000)
    user, suppressed_user = post.enrol(2)
    for user_id in (user, suppressed_user):
        provider_account = find_provider_account(db, user_id)
        add_contact(db, user_id, "push", f"the phone of {user_id}")
        add_usual_payments(db, provider_account)
        pending = add_payment(db, provider_account, "300", on=days_ago(0), pending=True)
        add_payment(db, provider_account, "300", on=days_ago(0), was_pending=pending)
    db.execute(
        "insert into notify.suppressions (address, channel, reason) values (%s, 'email', 'bounced')",
        (address(suppressed_user),),
    )
    planned = post.send_all(period="2026-10-20T08:00:00Z")
    assert max(post.mailbox.addresses.values()) == 1
    totals = runs.read_totals(db, planned.run_id)
    assert (totals["sent"], totals["suppressed"], totals["repeated"]) == (3, 1, 4)
    assert sum(totals[name] for name in ("sent", "suppressed", "repeated")) == 2 * totals["recipients"]


def _pause(operator: Connection, run_id: int) -> None:
    runs.set_pace_or_state(operator, run_id, state=RunState.PAUSED)
