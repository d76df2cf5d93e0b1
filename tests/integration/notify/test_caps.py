"""Caps: nobody hears of a category more often than declared, over all its notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.db.connection import Connection
from etl.declare.notice import Cap, Category, Consent
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.estimate import estimate_run
from etl.notify.failed_deliveries import retry_failed
from etl.notify.review.preview import build_preview
from tests.integration.notify.bank_data import DESKTOP_ADDRESS, add_contact, find_provider_account, set_balance
from tests.integration.notify.notice_harness import FAST, NoticeHarness

Rows = Callable[..., list[tuple[object, ...]]]
WEEK = timedelta(days=7)
CAPPED = Category("reports", Consent.OPT_OUT, cap=Cap(count=2, per=WEEK))
PERIODS = ("2026-07", "2026-08", "2026-09", "2026-10")


@pytest.fixture
def capped(post: NoticeHarness) -> NoticeHarness:
    """Return a harness whose notice may be sent twice a week."""
    post.notice = replace(FAST, category=CAPPED)
    return post


def age(harness: NoticeHarness, by: timedelta) -> None:
    """Make the ledger older."""
    harness.db.execute("update notify.deliveries set claimed_at = claimed_at - %s, ended_at = ended_at - %s", (by, by))


def test_a_user_gets_no_more_than_the_cap_until_its_time_is_over(capped: NoticeHarness, rows: Rows) -> None:
    capped.enrol(3)
    for period in PERIODS[:3]:
        capped.send_all(period=period)
    assert capped.states() == {"sent": 6, "suppressed": 3}
    assert rows("select distinct error_class from notify.deliveries where state = 'suppressed'") == [("capped",)]
    age(capped, WEEK)
    capped.send_all(period=PERIODS[3])
    assert capped.states() == {"sent": 9, "suppressed": 3}


def test_notices_of_a_category_share_its_cap_and_those_of_another_do_not(capped: NoticeHarness) -> None:
    capped.enrol(1)
    for period in PERIODS[:2]:
        capped.send_all(period=period)
    capped.notice = replace(capped.notice, category=replace(CAPPED, name="others"))
    capped.send_all(period=PERIODS[2])
    assert capped.states() == {"sent": 3}


def test_what_did_not_arrive_does_not_count(capped: NoticeHarness) -> None:
    (user,) = capped.enrol(1)
    refused = SendResult(0, SendOutcome.FAILED, "550", "no")
    capped.mailbox.answers[f"user{user}@bank.example"] = [refused, refused]
    for period in PERIODS[:3]:
        capped.send_all(period=period)
    assert capped.states() == {"failed": 2, "sent": 1}


def test_what_may_have_arrived_counts(capped: NoticeHarness) -> None:
    (user,) = capped.enrol(1)
    capped.mailbox.answers[f"user{user}@bank.example"] = [SendResult(0, SendOutcome.UNKNOWN, "Lost", "?")] * 2
    for period in PERIODS[:3]:
        capped.send_all(period=period)
    assert capped.states() == {"unknown": 2, "suppressed": 1}


@pytest.fixture
def accounts(post: NoticeHarness, db: Connection) -> list[str]:
    """Return the accounts of one user, whose balances are low; the notice has two channels."""
    category = Category("balances", Consent.OPT_IN, cap=Cap(count=2, per=WEEK))
    post.notice = replace(LOW_BALANCE, pace=1_000, expiry=None, category=category)
    (user,) = post.enrol(1)
    add_contact(db, user, "desktop", DESKTOP_ADDRESS)
    db.execute("insert into notify.consents values (%s, 'balances', true)", (user,))
    names = [f"account {number}" for number in range(5)]
    for name in names:
        set_balance(db, find_provider_account(db, user), "10", account=name)
    return names


def test_of_several_messages_in_one_page_no_more_are_sent_than_the_cap_leaves(
    post: NoticeHarness, accounts: list[str], rows: Rows
) -> None:
    estimate = estimate_run(post.notice, "2026-12-28", as_of=datetime.now(UTC), db=post.db)
    post.send_all(period="2026-12-28")
    found = rows("select channel::text, state::text, count(*) from notify.deliveries group by 1, 2 order by 1, 2")
    assert found == [
        ("desktop", "sent", 2),
        ("desktop", "suppressed", len(accounts) - 2),
        ("email", "sent", 2),
        ("email", "suppressed", len(accounts) - 2),
    ]
    counts = {"to_send": 2, "capped": len(accounts) - 2}
    assert estimate.dispositions == {"desktop": counts, "email": counts}


def test_a_message_over_two_channels_counts_once(post: NoticeHarness, accounts: list[str], db: Connection) -> None:
    db.execute("update core.accounts set balance_available = 900 where account_id <> %s", (accounts[0],))
    post.send_all(period="2026-12-28")
    db.execute("update core.accounts set balance_available = 10")
    post.send_all(period="2026-12-29")
    assert set(post.mailbox.addresses.values()) == {2}


@pytest.mark.usefixtures("accounts")
def test_another_channel_of_a_message_that_was_sent_is_not_capped(post: NoticeHarness, rows: Rows) -> None:
    ((mail_address,),) = rows("select address from notify.contacts where channel = 'email'")
    post.mailbox.answers[str(mail_address)] = [SendResult(0, SendOutcome.FAILED, "550", "no")] * 2
    planned = post.send_all(period="2026-12-28")
    assert post.mailbox.addresses == {DESKTOP_ADDRESS: 2}
    retry_failed(planned.run_id, error_classes=None, as_of=datetime.now(UTC), db=post.db)
    post.send(planned.run_id)
    assert post.mailbox.addresses == {DESKTOP_ADDRESS: 2, mail_address: 2}


def test_a_preview_says_that_its_user_got_enough(capped: NoticeHarness) -> None:
    (user,) = capped.enrol(1)
    for period in PERIODS[:2]:
        capped.send_all(period=period)
    (message,) = build_preview(capped.notice, PERIODS[2], user, as_of=datetime.now(UTC), db=capped.db).messages
    assert message.blocking_reason == "the user got 2 messages of the category reports in the last 7 days"


def test_rows_that_no_longer_count_are_removed_by_the_next_claim(capped: NoticeHarness, rows: Rows) -> None:
    capped.enrol(1)
    for period in PERIODS[:2]:
        capped.send_all(period=period)
    assert rows("select count(*) from notify.recent_deliveries") == [(2,)]
    age(capped, WEEK)
    capped.send_all(period=PERIODS[2])
    assert rows("select count(*) from notify.recent_deliveries") == [(1,)]


def test_a_category_without_a_cap_writes_no_rows(post: NoticeHarness, rows: Rows) -> None:
    post.enrol(3)
    post.send_all()
    assert rows("select count(*) from notify.recent_deliveries") == [(0,)]
