"""Announcements: one message to a few named users, sent at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from etl.errors import ChunkMissing
from etl.notify.announce import AnnouncementInvalid, plan_announcement, send_announced
from etl.notify.channels.channel import SendOutcome
from etl.notify.plan import PlannedRun
from etl.notify.run_request import ConfInvalid
from etl.notify.send import DeliveriesDeferred
from etl.notify.store import deliveries, runs
from etl.notify.templates import TemplateBroken
from tests.integration.notify.notice_harness import NoticeHarness, address
from tests.integration.notify.retried_runs import hurry

SPENT = {
    "month": "a month of its own",
    "currencies": [
        {
            "currency": "USD",
            "spent": "9.50",
            "received": "0",
            "payments": 1,
            "own": None,
            "previous": None,
            "average": None,
            "categories": [],
            "largest": [],
        }
    ],
}


def announce(post: NoticeHarness, users: list[int], key: str = "flag-1", values: dict[str, Any] = SPENT) -> PlannedRun:
    return plan_announcement(post.notice, users, key, values, db=post.db)


def send_announcement(post: NoticeHarness, run_id: int) -> dict[str, int]:
    return send_announced(
        {"run_id": run_id},
        notices=[post.notice],
        db=post.db,
        limiter=post.limiter,
        build_senders=lambda _: {"email": post.mailbox},
    )


def test_only_named_users_get_the_announced_values(post: NoticeHarness) -> None:
    ids = post.enrol(5)
    planned = announce(post, [ids[3], ids[1], ids[3]])
    assert send_announcement(post, planned.run_id)["sent"] == 2
    assert post.mailbox.addresses == {address(ids[1]): 1, address(ids[3]): 1}
    assert {message.parts["subject"] for message in post.mailbox.arrived} == {"Your money in a month of its own"}
    assert "9.50 USD" in post.mailbox.arrived[0].parts["text"]
    assert post.run(planned.run_id).state == "done"


@pytest.mark.usefixtures("long_backoff")
def test_deferred_message_stops_no_other_and_is_sent_with_the_announced_values(post: NoticeHarness) -> None:
    post.notice = replace(post.notice, chunk_size=1)
    ids = post.enrol(3)
    post.mailbox.answers = {address(ids[0]): [SendOutcome.DEFERRED]}
    planned = announce(post, ids)
    with pytest.raises(DeliveriesDeferred):
        send_announcement(post, planned.run_id)
    assert post.mailbox.addresses == {address(ids[1]): 1, address(ids[2]): 1}
    hurry(post, planned.run_id)
    send_announcement(post, planned.run_id)
    assert post.mailbox.addresses == dict.fromkeys(map(address, ids), 1)
    assert {message.parts["subject"] for message in post.mailbox.arrived} == {"Your money in a month of its own"}


def test_same_key_sends_one_message(post: NoticeHarness) -> None:
    ids = post.enrol(2)
    first = announce(post, ids[:1])
    assert announce(post, ids, values=SPENT | {"month": "another"}) == first
    send_announcement(post, first.run_id)
    repeated = announce(post, ids[:1])
    assert repeated == PlannedRun(first.run_id, [])
    assert send_announcement(post, repeated.run_id)["sent"] == 1
    assert post.mailbox.addresses == {address(ids[0]): 1}


def test_users_added_under_a_used_key_get_nothing_and_are_logged(
    post: NoticeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    ids = post.enrol(3)
    announce(post, ids[:1])
    announce(post, ids[:1])
    assert "so they get nothing" not in caplog.text
    announce(post, ids)
    assert "2 of 3 users are not recipients of the first announcement of flag-1, so they get nothing" in caplog.text


def test_each_key_sends_its_message_and_occupies_no_period(post: NoticeHarness) -> None:
    (user,) = post.enrol(1)
    for key in ("2026-10", "other"):
        send_announcement(post, announce(post, [user], key).run_id)
    assert runs.find_by_period(post.db, post.notice, "2026-10") is None
    assert post.mailbox.addresses == {address(user): 2}
    post.send_all(period="2026-10")
    assert post.mailbox.addresses == {address(user): 3}


def test_announcement_is_listed_among_the_deliveries_of_a_user(post: NoticeHarness) -> None:
    (user,) = post.enrol(1)
    send_announcement(post, announce(post, [user], "flag-7").run_id)
    (delivery,) = deliveries.list_by_user(post.db, user, notice=None, extra_keys=[], limit=10)
    assert (delivery.key, delivery.state) == ("key:flag-7", "sent")


def test_refusing_and_deleted_users_are_suppressed(post: NoticeHarness) -> None:
    refusing, deleted = post.enrol(2)
    post.db.execute("insert into notify.consents values (%s, 'reports', false)", [refusing])
    post.db.execute("delete from core.provider_accounts where user_id = %s", [deleted])
    post.db.execute("delete from core.users where user_id = %s", [deleted])
    totals = send_announcement(post, announce(post, [refusing, deleted]).run_id)
    assert (totals["sent"], totals["suppressed"]) == (0, 2)


def test_missing_template_value_is_refused_before_anything_is_stored(post: NoticeHarness) -> None:
    ids = post.enrol(1)
    with pytest.raises(TemplateBroken, match="'month' is undefined"):
        announce(post, ids, values={})
    for table in ("runs", "announcements", "chunks", "deliveries"):
        assert post.db.execute(f"select count(*) from notify.{table}".encode()).fetchone() == (0,)


@pytest.mark.parametrize(
    ("users", "key", "values", "message"),
    [
        ([], "k", SPENT, "it has 0 users"),
        (list(range(1_001)), "k", SPENT, "it has 1,001 users; 1 to 1,000 are allowed"),
        ([1], "", SPENT, "its key must have 1 to 200 printable characters"),
        ([1], "k" * 201, SPENT, "its key must have 1 to 200 printable characters"),
        ([1], "a\nb", SPENT, "its key must have 1 to 200 printable characters"),
        ([1], "k", {"amount": object()}, "its values are not valid JSON"),
        ([1], "k", {"amount": float("nan")}, "its values are not valid JSON"),
        ([1], "k", {"payee": "Joe\0"}, "its values hold characters that cannot be stored"),
        ([1], "k", {"payee": "Joe\udcff"}, "its values hold characters that cannot be stored"),
        ([0], "k", SPENT, "0 is not a user id"),
        ([2**63 - 1], "k", SPENT, "9223372036854775807 is not a user id"),
        ([2**70], "k", SPENT, "is not a user id"),
    ],
)
def test_invalid_announcement_is_refused(
    post: NoticeHarness, users: list[int], key: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnnouncementInvalid, match=message):
        announce(post, users, key, values)


def test_interrupted_announcement_continues_where_it_stopped(post: NoticeHarness) -> None:
    ids = post.enrol(25)
    planned = announce(post, ids)
    assert planned.ordinals == [0, 1, 2]
    post.send(planned.run_id, [1])
    assert send_announcement(post, planned.run_id)["sent"] == 25
    assert set(post.mailbox.addresses.values()) == {1}


@pytest.mark.parametrize("conf", [{}, {"run_id": "1"}, {"run_id": None}])
def test_conf_without_a_valid_run_id_is_refused(post: NoticeHarness, conf: dict[str, Any]) -> None:
    with pytest.raises(ConfInvalid, match="notify_now: run_id in its conf is"):
        send_announced(conf, notices=[], db=post.db, limiter=post.limiter, build_senders=lambda _: {})


def test_run_that_was_not_announced_is_refused(post: NoticeHarness) -> None:
    post.enrol(3)
    planned = post.plan()
    with pytest.raises(ConfInvalid, match="was not announced; the Dag notify_monthly_report sends it"):
        send_announcement(post, planned.run_id)
    assert post.states() == {}


def test_run_of_an_undeclared_notice_is_refused(post: NoticeHarness) -> None:
    planned = announce(post, post.enrol(1))
    with pytest.raises(ConfInvalid, match="belongs to notice monthly_report, which is not declared"):
        conf = {"run_id": planned.run_id}
        send_announced(conf, notices=[], db=post.db, limiter=post.limiter, build_senders=lambda _: {})
    with pytest.raises(ChunkMissing):
        post.send(planned.run_id, [9])
