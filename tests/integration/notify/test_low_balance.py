"""Who is told that an account holds little: those who asked, when it came to be so, and not every day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.db.connection import Connection
from tests.integration.notify.bank_data import DESKTOP_ADDRESS, add_contact, login_of, set_balance
from tests.integration.notify.notice_harness import NoticeHarness, address

MONDAY = datetime(2026, 12, 28, 9, tzinfo=UTC)
"""Of the 53rd week, which ends in the next year."""


@pytest.fixture
def user(post: NoticeHarness, db: Connection) -> int:
    """Return a user with a desktop, who asked to be told."""
    post.notice = replace(LOW_BALANCE, pace=1_000, expiry=None)
    (user,) = post.enrol(1)
    add_contact(db, user, "desktop", DESKTOP_ADDRESS)
    db.execute("insert into notify.consents values (%s, 'balances', true)", (user,))
    return user


@pytest.fixture
def login(db: Connection, user: int) -> int:
    """Return their login at a bank."""
    return login_of(db, user)


def test_an_account_that_came_to_hold_little_is_told_of_over_both_channels(
    post: NoticeHarness, db: Connection, user: int, login: int
) -> None:
    set_balance(db, login, "99.99")
    post.send_all()
    assert post.mailbox.addresses == {DESKTOP_ADDRESS: 1, address(user): 1}
    desktop, mail = post.mailbox.arrived
    assert desktop.parts["title"] == "Low balance: 99.99 USD in Everyday"
    assert "Everyday …4821 is below 100.00 USD." in mail.parts["text"]


@pytest.mark.parametrize(
    ("account", "told"),
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
        "known for longer",
    ],
)
def test_only_money_on_deposit_is_held_against_the_threshold_of_its_currency(
    post: NoticeHarness, db: Connection, login: int, account: dict[str, Any], told: int
) -> None:
    set_balance(db, login, **account)
    planned = post.plan()
    assert post.run(planned.run_id).state == ("running" if told else "done")


def test_an_account_is_told_of_once_a_week(post: NoticeHarness, db: Connection, login: int) -> None:
    for days in range(8):
        day = MONDAY + timedelta(days=days)
        set_balance(db, login, str(90 - days), observed_at=day - timedelta(hours=9))
        post.send_all(period=f"day {days}", as_of=day)
    titles = [message.parts["title"] for message in post.mailbox.arrived if "title" in message.parts]
    assert titles == ["Low balance: 90.00 USD in Everyday", "Low balance: 83.00 USD in Everyday"]


def test_what_stays_as_low_is_not_told_again(post: NoticeHarness, db: Connection, login: int) -> None:
    set_balance(db, login, "50", observed_at=MONDAY - timedelta(hours=9))
    post.send_all(period="this week", as_of=MONDAY)
    assert post.plan("next week", as_of=MONDAY + timedelta(weeks=1)).ordinals == []


def test_each_account_is_told_of(post: NoticeHarness, db: Connection, login: int) -> None:
    for account in ("everyday", "savings", "holidays"):
        set_balance(db, login, "50", account=account)
    post.notice = replace(post.notice, chunk_size=1)
    planned = post.plan()
    assert len(planned.ordinals) == 3
    assert len({recipient.dedupe_key for recipient in post.read_one_by_one(planned)}) == 3
    post.send(planned.run_id, planned.ordinals)
    assert post.states() == {"sent": 6}


def test_an_account_that_is_filled_before_it_is_told_of_tells_nobody(
    post: NoticeHarness, db: Connection, login: int
) -> None:
    set_balance(db, login, "50")
    planned = post.plan()
    set_balance(db, login, "5000")
    post.send(planned.run_id)
    assert post.mailbox.arrived == []


def test_who_did_not_ask_is_not_told(post: NoticeHarness, db: Connection, login: int) -> None:
    db.execute("delete from notify.consents")
    set_balance(db, login, "50")
    post.send_all()
    assert post.states() == {"suppressed": 2}


def test_thresholds_are_a_parameter_of_the_run(post: NoticeHarness, db: Connection, login: int) -> None:
    set_balance(db, login, "4000", currency="JPY")
    post.send_all(parameters={"thresholds": {"JPY": "5000"}})
    assert post.mailbox.arrived[0].parts["body"] == "That is below 5,000 JPY."
