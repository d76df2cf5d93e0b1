"""Which recipients get a message, and how the others are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.db.connection import Connection
from etl.declare.notice import Category, Consent
from etl.notify.store import deliveries
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.mark.parametrize(
    ("consent", "granted", "sent_count"),
    [
        (Consent.OPT_OUT, None, 1),
        (Consent.OPT_OUT, False, 0),
        (Consent.OPT_OUT, True, 1),
        (Consent.OPT_IN, None, 0),
        (Consent.OPT_IN, False, 0),
        (Consent.OPT_IN, True, 1),
        (Consent.NONE, False, 1),
    ],
)
def test_consent_is_read_when_a_message_is_sent(
    post: NoticeHarness, db: Connection, consent: Consent, granted: object, sent_count: int
) -> None:
    (user,) = post.enrol(1)
    post.notice = replace(FAST, category=Category("reports", consent))
    planned = post.plan()
    if granted is not None:
        db.execute("insert into notify.consents values (%s, 'reports', %s)", (user, granted))
    post.send(planned.run_id)
    assert post.states() == ({"sent": 1} if sent_count else {"suppressed": 1})
    assert len(post.mailbox.arrived) == sent_count


def test_suppressed_address_gets_nothing_whatever_its_case(post: NoticeHarness, db: Connection, rows: Rows) -> None:
    post.enrol(1)
    db.execute("update notify.contacts set address = 'User@Bank.example'")
    planned = post.plan()
    db.execute("insert into notify.suppressions values ('user@bank.example', 'email', 'complained')")
    post.send(planned.run_id)
    assert rows("select state::text, error_class from notify.deliveries") == [("suppressed", "suppressed_address")]
    assert post.totals(planned.run_id)["suppressed"] == 1


def test_a_run_that_has_expired_sends_nothing(post: NoticeHarness, db: Connection) -> None:
    post.enrol(3)
    post.notice = replace(FAST, expiry=timedelta(days=1))
    planned = post.plan()
    db.execute("update notify.runs set expires_at = now()")
    post.send(planned.run_id)
    assert post.states() == {"expired": 3}
    assert post.mailbox.arrived == []


def test_a_user_who_was_deleted_after_the_plan_gets_nothing(post: NoticeHarness, db: Connection) -> None:
    users = post.enrol(3)
    planned = post.plan()
    db.execute("delete from core.provider_accounts where user_id = %s", (users[1],))
    db.execute("delete from core.users where user_id = %s", (users[1],))
    post.send(planned.run_id)
    assert set(post.mailbox.addresses) == {address(users[0]), address(users[2])}


def test_user_deleted_just_before_the_claim_gets_nothing_and_is_recorded(
    post: NoticeHarness, db: Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = post.enrol(3)
    planned = post.plan()
    claim = deliveries.claim

    def delete_and_claim(*values: Any) -> deliveries.ClaimedPage:
        db.execute("delete from core.provider_accounts where user_id = %s", (users[1],))
        db.execute("delete from core.users where user_id = %s", (users[1],))
        return claim(*values)

    monkeypatch.setattr(deliveries, "claim", delete_and_claim)
    post.send(planned.run_id)
    assert address(users[1]) not in post.mailbox.addresses
    assert rows("select state::text, error_class from notify.deliveries where user_id = %s", users[1]) == [
        ("suppressed", "user_deleted")
    ]


def test_malformed_address_fails_with_a_reason_and_the_rest_are_sent(
    post: NoticeHarness, db: Connection, rows: Rows
) -> None:
    users = post.enrol(3)
    db.execute("update notify.contacts set address = 'nobody' where user_id = %s", (users[1],))
    post.send_all()
    assert post.states() == {"sent": 2, "failed": 1}
    assert rows("select error_class from notify.deliveries where state = 'failed'") == [("malformed_address",)]


def test_user_without_an_address_is_counted_and_has_no_row(post: NoticeHarness, db: Connection) -> None:
    users = post.enrol(3)
    db.execute("delete from notify.contacts where user_id = %s", (users[1],))
    planned = post.send_all()
    assert post.states() == {"sent": 2}
    assert post.totals(planned.run_id)["unreachable"] == 1


def test_the_newest_address_that_has_not_ended_is_used(post: NoticeHarness, db: Connection) -> None:
    (user,) = post.enrol(1)
    add = "insert into notify.contacts (user_id, channel, address, ended_at) values (%s, 'email', %s, %s)"
    db.execute(add, (user, "new@bank.example", None))
    db.execute(add, (user, "gone@bank.example", "2026-01-01"))
    post.send_all()
    assert list(post.mailbox.addresses) == ["new@bank.example"]
