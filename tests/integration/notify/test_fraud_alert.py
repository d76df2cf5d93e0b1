"""The fraud alert: which payments are unusual, and how often each is sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from etl.catalog.notices.fraud_alert.notice import FRAUD_ALERT
from etl.db.connection import Connection
from etl.db.statements import statement
from etl.notify.store import runs
from tests.integration.notify.bank_data import (
    add_contact,
    add_payment,
    add_usual_payments,
    days_ago,
    end_replaced,
    find_provider_account,
    link_again,
    set_state,
)
from tests.integration.notify.notice_harness import NoticeHarness, address

INDEX_LOOKUP = re.compile(r"(Index|Recheck) Cond: \(+provider_account_id = ")

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def user(post: NoticeHarness, db: Connection) -> int:
    """Return a user with a phone, who paid 40.00 USD at most in the weeks before."""
    post.notice = replace(FRAUD_ALERT, pace=1_000)
    (user,) = post.enrol(1)
    add_contact(db, user, "push", "the phone")
    add_usual_payments(db, find_provider_account(db, user))
    return user


@pytest.fixture
def provider_account(db: Connection, user: int) -> int:
    """Return the provider account of the user."""
    return find_provider_account(db, user)


def test_payment_much_larger_than_the_others_is_sent_once_over_both_channels(
    post: NoticeHarness, db: Connection, user: int, provider_account: int
) -> None:
    add_payment(db, provider_account, "200", on=days_ago(0), pending=True)
    post.send_all(period="first")
    second = post.send_all(period="second")
    assert post.mailbox.addresses == {"the phone": 1, address(user): 1}
    assert post.totals(second.run_id)["repeated"] == 2
    push, mail = post.mailbox.arrived
    assert push.parts["body"].startswith("200.00 USD to Shop, ")
    assert "The largest of the 12 payments from this account in the 90 days before was 40.00 USD." in mail.parts["text"]
    assert push.expires_at is not None


def test_payment_without_any_name_is_sent(
    post: NoticeHarness, db: Connection, user: int, provider_account: int
) -> None:
    add_payment(db, provider_account, "200", on=days_ago(0))
    db.execute("update core.transactions set merchant_name = null, description = null")
    post.send_all(period="first")
    assert post.mailbox.addresses == {"the phone": 1, address(user): 1}
    assert post.mailbox.arrived[0].parts["body"].startswith("200.00 USD to an unnamed payee, ")


def test_payment_that_moved_to_another_account_of_the_login_is_not_sent_again(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    payment = add_payment(db, provider_account, "200", on=days_ago(0))
    for number in range(12):
        add_payment(db, provider_account, "7.5", on=days_ago(5 + 3 * number), account="savings")
    post.send_all(period="first")
    db.execute("update core.transactions set account_id = 'savings' where transaction_id = %s", [payment])
    second = post.send_all(period="second")
    assert post.totals(second.run_id)["repeated"] == 2
    assert len(post.mailbox.arrived) == 2


@pytest.mark.parametrize(
    "payment",
    [
        {"amount": "199.99"},
        {"amount": "-500"},
        {"amount": "500", "on": 3},
        {"amount": "500", "on": -2},
        {"amount": "500", "removed": True},
        {"amount": "500", "currency": "EUR"},
        {"amount": "500", "currency": None},
        {"amount": "500", "account": "savings"},
    ],
    ids=[
        "less than five times the largest",
        "money that came in",
        "dated before the last days",
        "dated in the future",
        "removed",
        "another currency",
        "no currency",
        "another account",
    ],
)
def test_usual_payment_sends_nothing(
    post: NoticeHarness, db: Connection, provider_account: int, payment: dict[str, Any]
) -> None:
    add_payment(db, provider_account, **{**payment, "on": days_ago(payment.get("on", 0))})
    assert post.plan().ordinals == []


def test_first_sync_with_years_of_history_alerts_only_about_the_last_days(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    for days in (1, 3, 30, 300, 700):
        add_payment(db, provider_account, "90000" if days > 90 else "39", on=days_ago(days))
    add_payment(db, provider_account, "5000", on=days_ago(2))
    post.send_all()
    assert {message.parts["subject"] for message in post.mailbox.arrived if "subject" in message.parts} == {
        "Is this payment yours? 5,000.00 USD to Shop"
    }


def test_amount_is_compared_only_with_enough_payments_of_its_currency(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    add_usual_payments(db, provider_account, payments=9, amount="1", currency="EUR")
    add_payment(db, provider_account, "500", on=days_ago(0), currency="EUR")
    assert post.plan("nine").ordinals == []
    add_payment(db, provider_account, "1", on=days_ago(9), currency="EUR")
    post.send_all(period="ten")
    assert len(post.mailbox.arrived) == 2


def test_floor_depends_on_the_currency_and_may_be_absent(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    for currency in ("GBP", "KWD"):
        add_usual_payments(db, provider_account, amount="8", currency=currency)
        add_payment(db, provider_account, "99.99", on=days_ago(0), currency=currency)
    post.send_all()
    assert [message.parts["body"][:10] for message in post.mailbox.arrived if "body" in message.parts] == ["99.990 KWD"]


def post_payment(db: Connection, provider_account: int, pending: str) -> None:
    """Replace a pending payment by its posted one, which has a new id and a larger amount."""
    db.execute("update core.transactions set removed_at = now() where transaction_id = %s", (pending,))
    add_payment(db, provider_account, "510", on=days_ago(0), was_pending=pending)


def test_payment_posted_after_its_alert_is_not_sent_again(
    post: NoticeHarness, db: Connection, user: int, provider_account: int
) -> None:
    pending = add_payment(db, provider_account, "500", on=days_ago(2), pending=True)
    post.send_all(period="first")
    post_payment(db, provider_account, pending)
    assert len(post.send_all(period="second").ordinals) == 1
    assert post.mailbox.addresses == {"the phone": 1, address(user): 1}


def test_payment_posted_after_the_plan_is_still_sent(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    pending = add_payment(db, provider_account, "500", on=days_ago(2), pending=True)
    planned = post.plan()
    post_payment(db, provider_account, pending)
    post.send(planned.run_id)
    assert post.mailbox.arrived[0].parts["body"].startswith("510.00 USD")


def test_payment_removed_before_sending_alerts_nobody(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    add_payment(db, provider_account, "500", on=days_ago(0))
    planned = post.plan()
    db.execute("update core.transactions set removed_at = now() where amount = 500")
    post.send(planned.run_id)
    assert post.mailbox.arrived == []
    assert post.run(planned.run_id).state == "done"


def test_several_large_payments_do_not_hide_each_other(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    for days in (2, 1, 0):
        add_payment(db, provider_account, "500", on=days_ago(days))
    post.send_all()
    assert post.states() == {"sent": 6}


@pytest.mark.parametrize(("state", "messages"), [("needs_login", 2), ("suspended", 0), ("unlinked", 0)])
def test_a_login_that_waits_for_its_user_is_alerted_and_one_that_was_ended_is_not(
    post: NoticeHarness, db: Connection, provider_account: int, state: str, messages: int
) -> None:
    add_payment(db, provider_account, "500", on=days_ago(0))
    set_state(db, provider_account, state)
    post.send_all()
    assert len(post.mailbox.arrived) == messages


def test_a_payment_of_a_login_that_was_linked_again_is_sent_once_and_a_new_one_like_it_as_well(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    add_payment(db, provider_account, "500", on=days_ago(1))
    post.send_all(period="first")
    new = link_again(db, provider_account)
    post.send_all(period="second")
    assert len(post.mailbox.arrived) == 2
    add_usual_payments(db, new)
    add_payment(db, new, "500", on=days_ago(1))
    end_replaced(db, provider_account)
    third = post.send_all(period="third")
    assert post.totals(third.run_id)["repeated"] == 2
    add_payment(db, new, "500", on=days_ago(1))
    post.send_all(period="fourth")
    assert len(post.mailbox.arrived) == 4


def test_a_payment_that_was_not_sent_before_its_login_was_linked_again_is_sent(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    add_payment(db, provider_account, "500", on=days_ago(0))
    link_again(db, provider_account)
    post.send_all()
    assert len(post.mailbox.arrived) == 2


def test_what_only_the_earlier_login_knows_is_usual_for_the_later_one(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    new = link_again(db, provider_account)
    add_payment(db, new, "199", on=days_ago(0))
    assert post.plan("usual").ordinals == []
    add_payment(db, new, "200", on=days_ago(0))
    post.send_all(period="unusual")
    assert len(post.mailbox.arrived) == 2


def test_fraud_alert_is_sent_despite_refused_consent(
    post: NoticeHarness, db: Connection, user: int, provider_account: int
) -> None:
    db.execute("insert into notify.consents values (%s, 'security', false)", (user,))
    add_payment(db, provider_account, "500", on=days_ago(0))
    post.send_all()
    assert post.states() == {"sent": 2}


def test_run_uses_the_parameters_of_its_plan(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    add_payment(db, provider_account, "500", on=days_ago(0))
    assert post.plan("strict", parameters={"factor": 13}).ordinals == []
    planned = post.plan("usual")
    assert post.run(planned.run_id).parameters == FRAUD_ALERT.parameters
    post.notice = replace(post.notice, parameters={**FRAUD_ALERT.parameters, "factor": 13})
    post.send(planned.run_id)
    assert post.states() == {"sent": 2}


def test_user_deleted_after_the_plan_gets_nothing(
    post: NoticeHarness, db: Connection, user: int, provider_account: int
) -> None:
    add_payment(db, provider_account, "500", on=days_ago(0))
    planned = post.plan()
    for table in ("core.transactions", "core.provider_accounts", "core.users"):
        db.execute(f"delete from {table}".encode())
    post.send(planned.run_id)
    assert post.mailbox.arrived == []


def test_malformed_push_address_does_not_affect_the_mail(
    post: NoticeHarness, db: Connection, user: int, provider_account: int
) -> None:
    db.execute("update notify.contacts set address = '' where channel = 'push'")
    add_payment(db, provider_account, "500", on=days_ago(0))
    post.send_all()
    assert post.mailbox.addresses == {address(user): 1}
    assert post.states() == {"sent": 1, "failed": 1}


def test_no_payment_is_skipped_between_chunks_and_pages(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    provider_accounts = [provider_account, *(find_provider_account(db, user) for user in post.enrol(2))]
    for other in provider_accounts[1:]:
        add_usual_payments(db, other)
    unusual = {
        add_payment(db, account, "500", on=days_ago(days)) for account in provider_accounts for days in (0, 0, 1, 2)
    }
    post.notice = replace(post.notice, chunk_size=5)
    planned = post.plan()
    recipients = post.read_one_by_one(planned)
    assert len(planned.ordinals) == 3
    assert sorted(recipient.dedupe_key.rpartition("/")[2] for recipient in recipients) == sorted(unusual)
    assert post.totals(planned.run_id)["recipients"] == len(recipients)
    assert post.read_at_positions(planned, recipients) == recipients


def test_no_statement_reads_all_transactions(db: Connection, provider_account: int, post: NoticeHarness) -> None:
    post.enrol(300)
    db.execute(
        "insert into core.transactions (provider_account_id, account_id, transaction_id, amount, dated_on, pending, "
        "description, payment_channel, observed_at, raw_id) select p.provider_account_id, 'old', 'old ' || n, 1, "
        "'2020-01-01', false, '', '', now(), (select max(raw_id) from etl.raw_batches) "
        "from core.provider_accounts as p, generate_series(1, 60) as n"
    )
    db.execute("analyze core.transactions")
    run = runs.create(db, post.notice, "p", trigger="t", as_of=datetime.now(UTC), parameters=FRAUD_ALERT.parameters)
    assert run is not None
    for name in ("bounds", "recipients"):
        text = b"explain " + statement("notices/fraud_alert", name).as_string(None).encode()
        values = {**run.sql_parameters, "after": 0, "stop": 2**60, "limit": 100}
        plan = [line.strip() for (line,) in db.execute(text, values)]
        conditions = {after for line, after in pairwise(plan) if " on transactions_" in line}
        assert conditions
        assert all(INDEX_LOOKUP.match(condition) for condition in conditions), conditions
