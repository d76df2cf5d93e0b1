"""The monthly report: what counts as spending."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from etl.catalog.notices.fraud_alert.notice import FRAUD_ALERT
from etl.db.connection import Connection
from etl.db.statements import statement
from etl.notify.store import runs
from etl.sync.history import corrections
from tests.integration.notify.bank_data import (
    add_payment,
    add_usual_payments,
    days_ago,
    end_replaced,
    find_provider_account,
    link_again,
    set_state,
)
from tests.integration.notify.notice_harness import NoticeHarness

OCTOBER = date(2026, 10, 5)


@pytest.fixture
def provider_account(post: NoticeHarness, db: Connection) -> int:
    """Return the provider account of the only user."""
    (user,) = post.enrol(1)
    db.execute("update core.users set created_at = '2020-01-01'")
    return find_provider_account(db, user)


def spending(db: Connection) -> list[tuple[str, str, int]]:
    """Return currency, amount and number of the payments of the only recipient."""
    values = {"period": "2026-10", "as_of": datetime.now(UTC), "after": 0, "stop": 2**60, "limit": 10}
    (row,) = statement("notices/monthly_report", "recipients").dicts(db, values)
    return amounts(row)


def amounts(values: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    return [
        (each["currency"], format(Decimal(each["spent"]), ".2f"), each["payments"]) for each in values["currencies"]
    ]


def ignore(db: Connection, provider_account: int, transaction: str) -> None:
    corrections.correct(db, provider_account, transaction, values={"is_ignored": True}, corrected_by="ann")


def test_an_ignored_payment_does_not_count(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    add_payment(db, provider_account, "7.5", on=OCTOBER)
    transaction = add_payment(db, provider_account, "30", on=OCTOBER)
    add_payment(db, provider_account, "99", on=OCTOBER, removed=True)
    add_payment(db, provider_account, "98", on=OCTOBER, pending=True)
    before = [("USD", "37.50", 2)]
    assert spending(db) == before
    ignore(db, provider_account, transaction)
    assert spending(db) == [("USD", "7.50", 1)]
    corrections.correct(db, provider_account, transaction, values={"is_ignored": False}, corrected_by="ann")
    assert spending(db) == before


def test_an_ignored_payment_still_causes_a_fraud_alert(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    post.notice = FRAUD_ALERT
    add_usual_payments(db, provider_account)
    ignore(db, provider_account, add_payment(db, provider_account, "200", on=days_ago(0)))
    assert len(post.read_one_by_one(post.plan("p"))) == 1


def test_the_report_looks_up_transactions_and_corrections_of_one_login_and_reads_no_table_to_its_end(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    add_payment(db, provider_account, "7.5", on=OCTOBER)
    post.enrol(300)
    db.execute(
        "insert into core.transactions (provider_account_id, account_id, transaction_id, amount, currency, dated_on, "
        "pending, description, payment_channel, observed_at, raw_id) select p.provider_account_id, 'a', 't' || n, 1, "
        "'USD', '2026-10-01'::date - n, false, '', '', now(), (select max(raw_id) from etl.raw_batches) "
        "from core.provider_accounts as p, generate_series(1, 100) as n"
    )
    db.execute(
        "insert into core.corrections (provider_account_id, transaction_id, is_ignored, corrected_by) "
        "select t.provider_account_id, t.transaction_id, false, 'ann' from core.transactions as t where t.amount = 1"
    )
    db.execute("analyze core.transactions, core.corrections")
    run = runs.create(db, post.notice, "2026-10", trigger="t", as_of=datetime.now(UTC), parameters={})
    assert run is not None
    text = b"explain " + statement("notices/monthly_report", "recipients").as_string(None).encode()
    values = {**run.sql_parameters, "after": 0, "stop": 2**60, "limit": 100}
    plan = [line.strip() for (line,) in db.execute(text, values)]
    for table in (" on transactions_", " on corrections "):
        conditions = {after for line, after in pairwise(plan) if table in line}
        assert conditions
        assert all("(provider_account_id = " in condition for condition in conditions), conditions


def test_the_money_of_a_login_that_was_linked_again_counts_once(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    add_payment(db, provider_account, "10", on=OCTOBER)
    new = link_again(db, provider_account)
    assert spending(db) == [("USD", "10.00", 1)]
    end_replaced(db, provider_account)
    add_payment(db, new, "10", on=OCTOBER)
    add_payment(db, provider_account, "5", on=OCTOBER)
    assert spending(db) == [("USD", "15.00", 2)]


@pytest.mark.parametrize("state", ["needs_login", "suspended", "unlinked"])
def test_what_a_login_brought_before_it_stopped_counts_and_without_it_there_is_no_report(
    post: NoticeHarness, db: Connection, provider_account: int, state: str
) -> None:
    set_state(db, provider_account, state)
    add_payment(db, provider_account, "7", on=date(2026, 9, 30))
    add_payment(db, provider_account, "7", on=date(2026, 11, 1))
    add_payment(db, provider_account, "8", on=OCTOBER, removed=True)
    assert post.plan("2026-10").ordinals == []
    add_payment(db, provider_account, "9", on=OCTOBER)
    db.execute("delete from notify.runs")
    (recipient,) = post.read_one_by_one(post.plan("2026-10"))
    assert amounts(recipient.values) == [("USD", "9.00", 1)]
