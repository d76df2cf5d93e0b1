"""Who is asked whether a payment is theirs: once, at once, and for a reason that can be told."""

from __future__ import annotations

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
from tests.integration.notify.bank_data import add_contact, add_payment, add_usual_payments, days_ago, login_of
from tests.integration.notify.notice_harness import NoticeHarness, address

LOOKED_UP = "Index Cond: ((provider_account_id = p.provider_account_id) AND "

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def user(post: NoticeHarness, db: Connection) -> int:
    """Return a user with a phone, who paid 40.00 USD at most in the weeks before."""
    post.notice = replace(FRAUD_ALERT, pace=1_000)
    (user,) = post.enrol(1)
    add_contact(db, user, "push", "the phone")
    add_usual_payments(db, login_of(db, user))
    return user


@pytest.fixture
def login(db: Connection, user: int) -> int:
    """Return their login at a bank."""
    return login_of(db, user)


def test_a_payment_much_larger_than_the_others_is_told_once_over_both_channels(
    post: NoticeHarness, db: Connection, user: int, login: int
) -> None:
    add_payment(db, login, "200", on=days_ago(0), pending=True)
    post.send_all(period="first")
    again = post.send_all(period="second")
    assert post.mailbox.addresses == {"the phone": 1, address(user): 1}
    assert post.totals(again.run_id)["repeated"] == 2
    push, mail = post.mailbox.arrived
    assert push.parts["body"].startswith("200.00 USD to Shop, ")
    assert "The largest of the 12 payments from this account in the 90 days before was 40.00 USD." in mail.parts["text"]
    assert push.expires_at is not None


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
def test_what_is_not_unusual_is_not_told(
    post: NoticeHarness, db: Connection, login: int, payment: dict[str, Any]
) -> None:
    add_payment(db, login, **{**payment, "on": days_ago(payment.get("on", 0))})
    assert post.plan().ordinals == []


def test_a_first_sync_with_years_of_history_alerts_of_the_last_days_only(
    post: NoticeHarness, db: Connection, login: int
) -> None:
    for days in (1, 3, 30, 300, 700):
        add_payment(db, login, "90000" if days > 90 else "39", on=days_ago(days))
    add_payment(db, login, "5000", on=days_ago(2))
    post.send_all()
    assert {message.parts["subject"] for message in post.mailbox.arrived if "subject" in message.parts} == {
        "Is this payment yours? 5,000.00 USD to Shop"
    }


def test_an_amount_is_compared_with_enough_payments_of_its_own_currency_only(
    post: NoticeHarness, db: Connection, login: int
) -> None:
    add_usual_payments(db, login, payments=9, amount="1", currency="EUR")
    add_payment(db, login, "500", on=days_ago(0), currency="EUR")
    assert post.plan("nine").ordinals == []
    add_payment(db, login, "1", on=days_ago(9), currency="EUR")
    post.send_all(period="ten")
    assert len(post.mailbox.arrived) == 2


def test_the_floor_is_that_of_the_currency_and_a_currency_without_one_has_none(
    post: NoticeHarness, db: Connection, login: int
) -> None:
    for currency in ("GBP", "KWD"):
        add_usual_payments(db, login, amount="8", currency=currency)
        add_payment(db, login, "99.99", on=days_ago(0), currency=currency)
    post.send_all()
    assert [message.parts["body"][:10] for message in post.mailbox.arrived if "body" in message.parts] == ["99.990 KWD"]


def post_payment(db: Connection, login: int, pending: str) -> None:
    """Let a payment that was pending be posted, with an id of its own and a larger amount."""
    db.execute("update core.transactions set removed_at = now() where transaction_id = %s", (pending,))
    add_payment(db, login, "510", on=days_ago(0), was_pending=pending)


def test_a_payment_that_is_posted_after_it_was_told_is_not_told_again(
    post: NoticeHarness, db: Connection, user: int, login: int
) -> None:
    pending = add_payment(db, login, "500", on=days_ago(2), pending=True)
    post.send_all(period="first")
    post_payment(db, login, pending)
    assert len(post.send_all(period="second").ordinals) == 1
    assert post.mailbox.addresses == {"the phone": 1, address(user): 1}


def test_a_payment_that_is_posted_after_the_plan_is_told_all_the_same(
    post: NoticeHarness, db: Connection, login: int
) -> None:
    pending = add_payment(db, login, "500", on=days_ago(2), pending=True)
    planned = post.plan()
    post_payment(db, login, pending)
    post.send(planned.run_id)
    assert post.mailbox.arrived[0].parts["body"].startswith("510.00 USD")


def test_a_payment_that_is_withdrawn_before_it_is_told_alerts_nobody(
    post: NoticeHarness, db: Connection, login: int
) -> None:
    add_payment(db, login, "500", on=days_ago(0))
    planned = post.plan()
    db.execute("update core.transactions set removed_at = now() where amount = 500")
    post.send(planned.run_id)
    assert post.mailbox.arrived == []
    assert post.run(planned.run_id).state == "done"


def test_large_payments_of_one_thief_do_not_hide_each_other(post: NoticeHarness, db: Connection, login: int) -> None:
    for days in (2, 1, 0):
        add_payment(db, login, "500", on=days_ago(days))
    post.send_all()
    assert post.states() == {"sent": 6}


def test_a_login_that_was_stopped_alerts_nobody(post: NoticeHarness, db: Connection, login: int) -> None:
    add_payment(db, login, "500", on=days_ago(0))
    db.execute("update core.provider_accounts set state = 'stopped', stopped_at = now()")
    assert post.plan().ordinals == []


def test_nobody_can_refuse_an_alert(post: NoticeHarness, db: Connection, user: int, login: int) -> None:
    db.execute("insert into notify.consents values (%s, 'security', false)", (user,))
    add_payment(db, login, "500", on=days_ago(0))
    post.send_all()
    assert post.states() == {"sent": 2}


def test_a_run_goes_by_the_parameters_that_it_was_planned_with(post: NoticeHarness, db: Connection, login: int) -> None:
    add_payment(db, login, "500", on=days_ago(0))
    assert post.plan("strict", parameters={"factor": 13}).ordinals == []
    planned = post.plan("usual")
    assert post.run(planned.run_id).parameters == FRAUD_ALERT.parameters
    post.notice = replace(post.notice, parameters={**FRAUD_ALERT.parameters, "factor": 13})
    post.send(planned.run_id)
    assert post.states() == {"sent": 2}


def test_a_user_who_is_deleted_after_the_plan_is_not_told(
    post: NoticeHarness, db: Connection, user: int, login: int
) -> None:
    add_payment(db, login, "500", on=days_ago(0))
    planned = post.plan()
    for table in ("core.transactions", "core.provider_accounts", "core.users"):
        db.execute(f"delete from {table}".encode())
    post.send(planned.run_id)
    assert post.mailbox.arrived == []


def test_a_phone_whose_address_is_malformed_leaves_the_mail_alone(
    post: NoticeHarness, db: Connection, user: int, login: int
) -> None:
    db.execute("update notify.contacts set address = '' where channel = 'push'")
    add_payment(db, login, "500", on=days_ago(0))
    post.send_all()
    assert post.mailbox.addresses == {address(user): 1}
    assert post.states() == {"sent": 1, "failed": 1}


def test_no_payment_is_left_out_between_chunks_and_pages(post: NoticeHarness, db: Connection, login: int) -> None:
    logins = [login, *(login_of(db, user) for user in post.enrol(2))]
    for each in logins[1:]:
        add_usual_payments(db, each)
    told = {add_payment(db, each, "500", on=days_ago(days)) for each in logins for days in (0, 0, 1, 2)}
    post.notice = replace(post.notice, chunk_size=5)
    planned = post.plan()
    found = post.read_one_by_one(planned)
    assert len(planned.ordinals) == 3
    assert sorted(recipient.dedupe_key.rpartition("/")[2] for recipient in found) == sorted(told)
    assert post.totals(planned.run_id)["recipients"] == len(found)


def test_no_statement_reads_all_transactions(db: Connection, login: int, post: NoticeHarness) -> None:
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
        assert all(condition.startswith(LOOKED_UP) for condition in conditions)
