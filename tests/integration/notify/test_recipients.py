"""Nobody is told who must not be, and who cannot be is accounted for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.db.connection import Warehouse
from etl.declare.notice import Category, Consent
from etl.notify.channels.channel import Outcome, Result
from etl.notify.store import deliveries
from tests.integration.notify.notice_harness import FAST, Post, address

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.mark.parametrize(
    ("consent", "said", "told"),
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
    post: Post, warehouse: Warehouse, consent: Consent, said: object, told: int
) -> None:
    (user,) = post.enrol(1)
    post.notice = replace(FAST, category=Category("reports", consent))
    planned = post.plan()
    if said is not None:
        warehouse.execute("insert into notify.consents values (%s, 'reports', %s)", (user, said))
    post.send(planned.run_id)
    assert post.states() == ({"sent": 1} if told else {"suppressed": 1})
    assert len(post.mailbox.arrived) == told


def test_a_suppressed_address_gets_nothing_however_it_is_written(post: Post, warehouse: Warehouse, rows: Rows) -> None:
    post.enrol(1)
    warehouse.execute("update notify.contacts set address = 'User@Bank.example'")
    planned = post.plan()
    warehouse.execute("insert into notify.suppressions values ('user@bank.example', 'email', 'complained')")
    post.send(planned.run_id)
    assert rows("select state::text, error_class from notify.deliveries") == [("suppressed", "suppressed_address")]
    assert post.totals(planned.run_id)["suppressed"] == 1


def test_a_run_that_has_expired_sends_nothing(post: Post, warehouse: Warehouse) -> None:
    post.enrol(3)
    post.notice = replace(FAST, expiry=timedelta(days=1))
    planned = post.plan()
    warehouse.execute("update notify.runs set expires_at = now()")
    post.send(planned.run_id)
    assert post.states() == {"expired": 3}
    assert post.mailbox.arrived == []


def test_a_user_who_was_deleted_after_the_plan_gets_nothing(post: Post, warehouse: Warehouse) -> None:
    users = post.enrol(3)
    planned = post.plan()
    warehouse.execute("delete from core.provider_accounts where user_id = %s", (users[1],))
    warehouse.execute("delete from core.users where user_id = %s", (users[1],))
    post.send(planned.run_id)
    assert set(post.mailbox.addresses) == {address(users[0]), address(users[2])}


def test_a_user_who_is_deleted_at_the_last_moment_gets_nothing_and_is_accounted_for(
    post: Post, warehouse: Warehouse, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = post.enrol(3)
    planned = post.plan()
    claim = deliveries.claim

    def delete_and_claim(*values: Any) -> deliveries.Page:
        warehouse.execute("delete from core.provider_accounts where user_id = %s", (users[1],))
        warehouse.execute("delete from core.users where user_id = %s", (users[1],))
        return claim(*values)

    monkeypatch.setattr(deliveries, "claim", delete_and_claim)
    post.send(planned.run_id)
    assert address(users[1]) not in post.mailbox.addresses
    assert rows("select state::text, error_class from notify.deliveries where user_id = %s", users[1]) == [
        ("suppressed", "user_deleted")
    ]


def test_a_malformed_address_fails_with_a_reason_and_the_rest_go_on(
    post: Post, warehouse: Warehouse, rows: Rows
) -> None:
    users = post.enrol(3)
    warehouse.execute("update notify.contacts set address = 'nobody' where user_id = %s", (users[1],))
    post.send_all()
    assert post.states() == {"sent": 2, "failed": 1}
    assert rows("select error_class from notify.deliveries where state = 'failed'") == [("malformed_address",)]


def test_who_has_no_address_is_counted_and_has_no_row(post: Post, warehouse: Warehouse) -> None:
    users = post.enrol(3)
    warehouse.execute("delete from notify.contacts where user_id = %s", (users[1],))
    planned = post.send_all()
    assert post.states() == {"sent": 2}
    assert post.totals(planned.run_id)["unreachable"] == 1


def test_the_newest_address_that_has_not_ended_is_used(post: Post, warehouse: Warehouse) -> None:
    (user,) = post.enrol(1)
    add = "insert into notify.contacts (user_id, channel, address, ended_at) values (%s, 'email', %s, %s)"
    warehouse.execute(add, (user, "new@bank.example", None))
    warehouse.execute(add, (user, "gone@bank.example", "2026-01-01"))
    post.send_all()
    assert list(post.mailbox.addresses) == ["new@bank.example"]


def test_an_address_that_will_never_take_a_message_again_is_pruned(post: Post, rows: Rows) -> None:
    users = post.enrol(2)
    gone = Result(0, Outcome.FAILED, "UNREGISTERED", "no such device", address_ended=True)
    post.mailbox.answers = {address(users[0]): [gone]}
    post.send_all()
    assert rows("select user_id, ended_for from notify.contacts where ended_at is not null") == [
        (users[0], "UNREGISTERED")
    ]
    assert post.states() == {"sent": 1, "failed": 1}
