"""The low balance notice: sent to users who opted in, when a balance has dropped, and at most once a week."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.db.connection import Connection
from tests.integration.notify.bank_data import (
    DESKTOP_ADDRESS,
    add_contact,
    find_provider_account,
    link_again,
    set_balance,
    set_state,
)
from tests.integration.notify.notice_harness import NoticeHarness, address

MONDAY = datetime(2026, 12, 28, 9, tzinfo=UTC)
"""In ISO week 53, which ends in the next year."""


@pytest.fixture
def user(post: NoticeHarness, db: Connection) -> int:
    """Return a user with a desktop address, who opted in."""
    post.notice = replace(LOW_BALANCE, pace=1_000, expiry=None)
    (user,) = post.enrol(1)
    add_contact(db, user, "desktop", DESKTOP_ADDRESS)
    db.execute("insert into notify.consents values (%s, 'balances', true)", (user,))
    return user


@pytest.fixture
def provider_account(db: Connection, user: int) -> int:
    """Return the provider account of the user."""
    return find_provider_account(db, user)


def test_account_below_its_threshold_is_sent_over_both_channels(
    post: NoticeHarness, db: Connection, user: int, provider_account: int
) -> None:
    set_balance(db, provider_account, "99.99")
    post.send_all()
    assert post.mailbox.addresses == {DESKTOP_ADDRESS: 1, address(user): 1}
    desktop, mail = post.mailbox.arrived
    assert desktop.parts["title"] == "Low balance: 99.99 USD in Everyday"
    assert "Everyday …4821 is below 100.00 USD." in mail.parts["text"]


@pytest.mark.parametrize(("official_name", "shown"), [("Giro Plus", "Giro Plus"), (None, "an account")])
def test_account_without_a_name_is_called_by_its_official_name_or_just_an_account(
    post: NoticeHarness, db: Connection, provider_account: int, official_name: str | None, shown: str
) -> None:
    set_balance(db, provider_account, "99.99")
    db.execute("update core.accounts set name = null, official_name = %s", (official_name,))
    post.send_all()
    desktop, mail = post.mailbox.arrived
    assert desktop.parts["title"] == f"Low balance: 99.99 USD in {shown}"
    assert f"{shown} …4821 is below 100.00 USD." in mail.parts["text"]


@pytest.mark.parametrize(
    ("account", "is_sent"),
    [
        ({"available": "100"}, 0),
        ({"available": "-20"}, 1),
        ({"available": None, "current": "50"}, 1),
        ({"available": "150", "current": "50"}, 0),
        ({"available": None, "current": None}, 0),
        ({"available": "50", "kind": "credit"}, 0),
        ({"available": "50", "kind": "loan"}, 0),
        ({"available": "50", "currency": "JPY"}, 0),
        ({"available": "50", "currency": None}, 0),
        ({"available": "50", "observed_at": datetime.now(UTC) - timedelta(days=2, hours=1)}, 0),
    ],
    ids=[
        "at the threshold",
        "overdrawn",
        "only the current balance is known",
        "the available balance counts",
        "no balance is known",
        "credit card",
        "loan",
        "a currency without a threshold",
        "no currency",
        "observed too long ago",
    ],
)
def test_only_deposits_are_compared_with_the_threshold_of_their_currency(
    post: NoticeHarness, db: Connection, provider_account: int, account: dict[str, Any], is_sent: int
) -> None:
    set_balance(db, provider_account, **account)
    planned = post.plan()
    assert post.run(planned.run_id).state == ("running" if is_sent else "done")


def test_account_is_sent_once_a_week(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    for days in range(8):
        day = MONDAY + timedelta(days=days)
        set_balance(db, provider_account, str(90 - days), observed_at=day - timedelta(hours=9))
        post.send_all(period=f"day {days}", as_of=day)
    titles = [message.parts["title"] for message in post.mailbox.arrived if "title" in message.parts]
    assert titles == ["Low balance: 90.00 USD in Everyday", "Low balance: 83.00 USD in Everyday"]


def test_unchanged_low_balance_is_not_sent_again(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    set_balance(db, provider_account, "50", observed_at=MONDAY - timedelta(hours=9))
    post.send_all(period="this week", as_of=MONDAY)
    assert post.plan("next week", as_of=MONDAY + timedelta(weeks=1)).ordinals == []


def test_each_low_account_is_sent(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    for account in ("everyday", "savings", "holidays"):
        set_balance(db, provider_account, "50", account=account)
    post.notice = replace(post.notice, chunk_size=1)
    planned = post.plan()
    assert len(planned.ordinals) == 3
    recipients = post.read_one_by_one(planned)
    assert len({recipient.dedupe_key for recipient in recipients}) == 3
    assert post.read_at_positions(planned, recipients) == recipients
    post.send(planned.run_id, planned.ordinals)
    assert post.states() == {"sent": 6}


def test_account_refilled_before_sending_sends_nothing(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    set_balance(db, provider_account, "50")
    planned = post.plan()
    set_balance(db, provider_account, "5000")
    post.send(planned.run_id)
    assert post.mailbox.arrived == []


def test_user_without_consent_is_suppressed(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    db.execute("delete from notify.consents")
    set_balance(db, provider_account, "50")
    post.send_all()
    assert post.states() == {"suppressed": 2}


def test_thresholds_are_a_parameter_of_the_run(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    set_balance(db, provider_account, "4000", currency="JPY")
    post.send_all(parameters={"thresholds": {"JPY": "5000"}})
    assert post.mailbox.arrived[0].parts["body"] == "That is below 5,000 JPY."


def test_a_closed_account_is_not_sent(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    set_balance(db, provider_account, "50")
    planned = post.plan()
    db.execute("update core.accounts set closed_on = current_date")
    post.send(planned.run_id)
    assert post.mailbox.arrived == []
    assert post.plan("the day after").ordinals == []


def test_a_low_balance_whose_account_only_changed_its_name_is_not_sent_again(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    set_balance(db, provider_account, "50", observed_at=MONDAY - timedelta(days=9))
    db.execute("update core.accounts set name = 'Mine', observed_at = %s", (MONDAY - timedelta(hours=9),))
    assert post.plan("renamed", as_of=MONDAY).ordinals == []


def test_a_balance_that_rose_and_fell_again_is_sent(post: NoticeHarness, db: Connection, provider_account: int) -> None:
    set_balance(db, provider_account, "50", observed_at=MONDAY - timedelta(days=9))
    for hours, balance in ((30, "500"), (9, "50")):
        set_balance(db, provider_account, balance, observed_at=MONDAY - timedelta(hours=hours))
    post.send_all(period="fell", as_of=MONDAY)
    assert len(post.mailbox.arrived) == 2


def test_a_new_account_with_a_low_balance_is_sent_although_it_changed_its_name_since(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    set_balance(db, provider_account, "50", observed_at=MONDAY - timedelta(hours=30))
    db.execute("update core.accounts set name = 'Mine', observed_at = %s", (MONDAY - timedelta(hours=9),))
    post.send_all(period="new", as_of=MONDAY)
    assert len(post.mailbox.arrived) == 2


def test_an_account_that_was_linked_again_is_not_sent_again_in_the_same_week(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    set_balance(db, provider_account, "50")
    post.send_all(period="monday")
    set_balance(db, link_again(db, provider_account), "40")
    second = post.send_all(period="tuesday")
    assert post.totals(second.run_id)["repeated"] == 2
    assert len(post.mailbox.arrived) == 2


def test_a_balance_that_was_as_low_before_the_account_was_linked_again_is_not_sent(
    post: NoticeHarness, db: Connection, provider_account: int
) -> None:
    now = datetime.now(UTC)
    set_balance(db, provider_account, "50", observed_at=now - timedelta(days=9))
    new = link_again(db, provider_account)
    set_balance(db, new, "50")
    assert post.plan("same", as_of=now).ordinals == []
    db.execute("update core.replaced_accounts set replaced_at = now() - interval '5 days'")
    db.execute(
        "update core.accounts_history set superseded_at = r.replaced_at from core.replaced_accounts as r "
        "where closed_on is null and provider_account_id = %s",
        [provider_account],
    )
    assert post.plan("same, and loaded days after it was linked", as_of=now).ordinals == []
    set_balance(db, new, "40")
    assert len(post.plan("lower", as_of=now).ordinals) == 1


@pytest.mark.parametrize(("state", "messages"), [("needs_login", 2), ("suspended", 0), ("unlinked", 0)])
def test_a_login_that_waits_for_its_user_is_sent_and_one_that_was_ended_is_not(
    post: NoticeHarness, db: Connection, provider_account: int, state: str, messages: int
) -> None:
    set_balance(db, provider_account, "50")
    set_state(db, provider_account, state)
    post.send_all()
    assert len(post.mailbox.arrived) == messages
