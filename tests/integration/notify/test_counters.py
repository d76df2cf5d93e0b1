"""Recipients times channels are what came of a run, whatever interrupts it and whatever its audience holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.notices.fraud_alert.notice import FRAUD_ALERT
from etl.db.connection import Warehouse
from etl.declare.notice import Unknown
from etl.notify import delivery, pacing
from etl.notify.channels.channel import Outcome, Result
from etl.notify.pacing import SendingPaused
from etl.notify.store import runs
from etl.notify.store.runs import State
from tests.integration.notify.bank_data import days_ago, login_of, pay, pay_as_usual, reach
from tests.integration.notify.ledger_invariants import balance
from tests.integration.notify.notice_harness import FAST, Post, address
from tests.integration.notify.retried_runs import refusal, retry, send_left

ENDED = replace(refusal("550"), address_ended=True)


@pytest.fixture
def _watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "LONGEST_PAUSE", timedelta(0))
    monkeypatch.setattr(pacing, "LOOK_EVERY", timedelta(milliseconds=1))


@pytest.mark.usefixtures("_watchful")
@pytest.mark.parametrize("unknown", Unknown)
def test_an_address_that_ends_before_its_page_does_is_counted_once(
    post: Post, connect: Callable[[], Warehouse], unknown: Unknown
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
    runs.steer(operator, planned.run_id, state=State.RUNNING, pace=1_000)
    post.send(planned.run_id)
    assert balance(post, planned.run_id) == {"sent": 11, "failed": 1}


@pytest.mark.usefixtures("_watchful")
def test_what_is_retried_before_its_page_ended_and_has_no_address_is_counted_once(
    post: Post, connect: Callable[[], Warehouse]
) -> None:
    operator = connect()
    ids = post.enrol(12)
    post.notice = replace(FAST, pace=10, chunk_size=100)
    planned = post.plan()
    post.mailbox.answers = {address(ids[0]): [Result(0, Outcome.FAILED, "421", "no")]}
    post.mailbox.after = lambda _: _pause(operator, planned.run_id)
    with pytest.raises(SendingPaused):
        post.send(planned.run_id)
    post.mailbox.after = lambda _: None
    assert retry(post, planned.run_id).total == 1
    post.warehouse.execute("update notify.contacts set ended_at = now() where user_id = %s", (ids[0],))
    runs.steer(operator, planned.run_id, state=State.RUNNING, pace=1_000)
    send_left(post, planned.run_id)
    assert balance(post, planned.run_id) == {"sent": 11, "failed": 1}


def test_what_may_have_arrived_is_unknown_and_not_expired(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSE_BETWEEN_TRIES", timedelta(seconds=1))
    (user,) = post.enrol(1)
    post.notice = replace(FAST, unknown=Unknown.RESEND)
    planned = post.plan()
    post.warehouse.execute("update notify.runs set expires_at = clock_timestamp() + interval '0.8 seconds'")
    post.mailbox.answers = {address(user): [Outcome.UNKNOWN]}
    post.send(planned.run_id)
    assert balance(post, planned.run_id) == {"unknown": 1}


def test_what_may_have_arrived_is_unknown_and_not_failed_though_it_is_refused_later(post: Post) -> None:
    (user,) = post.enrol(1)
    post.notice = replace(FAST, unknown=Unknown.RESEND)
    post.mailbox.answers = {address(user): [Outcome.UNKNOWN, Result(0, Outcome.FAILED, "550", "no")]}
    planned = post.send_all()
    assert balance(post, planned.run_id) == {"unknown": 1}
    assert retry(post, planned.run_id).total == 0, "nobody is sure that they did not get it"


def test_a_payment_that_is_pending_and_posted_at_once_is_told_once_and_counted(post: Post) -> None:
    warehouse = post.warehouse
    post.notice = replace(FRAUD_ALERT, pace=1_000)
    user, refused = post.enrol(2)
    for each in (user, refused):
        login = login_of(warehouse, each)
        reach(warehouse, each, "push", f"the phone of {each}")
        pay_as_usual(warehouse, login)
        pending = pay(warehouse, login, "300", on=days_ago(0), pending=True)
        pay(warehouse, login, "300", on=days_ago(0), was_pending=pending)
    warehouse.execute(
        "insert into notify.suppressions (address, channel, reason) values (%s, 'email', 'bounced')",
        (address(refused),),
    )
    planned = post.send_all(period="2026-10-20T08:00:00Z")
    assert max(post.mailbox.addresses.values()) == 1
    totals = runs.totals(warehouse, planned.run_id)
    assert (totals["sent"], totals["suppressed"], totals["repeated"]) == (3, 1, 4)
    assert sum(totals[name] for name in ("sent", "suppressed", "repeated")) == 2 * totals["recipients"]


def _pause(operator: Warehouse, run_id: int) -> None:
    runs.steer(operator, run_id, state=State.PAUSED)
