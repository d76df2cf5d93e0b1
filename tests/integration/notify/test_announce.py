"""One thing is told to a few users at once."""

from __future__ import annotations

from typing import Any

import pytest

from etl.errors import ChunkMissing
from etl.notify.announce import AnnouncementInvalid, plan_announcement, send_announced
from etl.notify.plan import PlannedRun
from etl.notify.run_request import ConfInvalid
from etl.notify.store import deliveries, runs
from etl.notify.templates import TemplateBroken
from tests.integration.notify.notice_harness import NoticeHarness, address

SPENT = {"month": "a month of its own", "spending": [{"currency": "USD", "amount": "9.50", "payments": 1}]}


def tell(post: NoticeHarness, users: list[int], key: str = "flag-1", values: dict[str, Any] = SPENT) -> PlannedRun:
    return plan_announcement(post.notice, users, key, values, db=post.db)


def sent(post: NoticeHarness, run_id: int) -> dict[str, int]:
    return send_announced(
        {"run_id": run_id},
        notices=[post.notice],
        db=post.db,
        limiter=post.limiter,
        build_senders=lambda _: {"email": post.mailbox},
    )


def test_only_those_who_are_named_are_told_what_is_said(post: NoticeHarness) -> None:
    ids = post.enrol(5)
    planned = tell(post, [ids[3], ids[1], ids[3]])
    assert sent(post, planned.run_id)["sent"] == 2
    assert post.mailbox.addresses == {address(ids[1]): 1, address(ids[3]): 1}
    assert {message.parts["subject"] for message in post.mailbox.arrived} == {"Your spending in a month of its own"}
    assert "9.50 USD" in post.mailbox.arrived[0].parts["text"]
    assert post.run(planned.run_id).state == "done"


def test_the_same_key_is_one_message(post: NoticeHarness) -> None:
    ids = post.enrol(2)
    first = tell(post, ids[:1])
    assert tell(post, ids, values=SPENT | {"month": "another"}) == first
    sent(post, first.run_id)
    again = tell(post, ids[:1])
    assert again == PlannedRun(first.run_id, [])
    assert sent(post, again.run_id)["sent"] == 1
    assert post.mailbox.addresses == {address(ids[0]): 1}


def test_whoever_is_named_only_later_under_a_key_is_not_told_and_the_log_says_so(
    post: NoticeHarness, caplog: pytest.LogCaptureFixture
) -> None:
    ids = post.enrol(3)
    tell(post, ids[:1])
    tell(post, ids[:1])
    assert "are not told" not in caplog.text
    tell(post, ids)
    assert "2 of 3 users were not named when flag-1 was announced first, and are not told" in caplog.text


def test_another_key_is_another_message_and_a_key_takes_no_period_away(post: NoticeHarness) -> None:
    (user,) = post.enrol(1)
    for key in ("2026-10", "other"):
        sent(post, tell(post, [user], key).run_id)
    assert runs.find_by_period(post.db, post.notice, "2026-10") is None
    assert post.mailbox.addresses == {address(user): 2}
    post.send_all(period="2026-10")
    assert post.mailbox.addresses == {address(user): 3}


def test_what_was_announced_is_listed_among_what_a_user_got(post: NoticeHarness) -> None:
    (user,) = post.enrol(1)
    sent(post, tell(post, [user], "flag-7").run_id)
    (found,) = deliveries.list_by_user(post.db, user, notice=None, extra_keys=[], limit=10)
    assert (found.key, found.state) == ("key:flag-7", "sent")


def test_consent_counts_as_in_every_run(post: NoticeHarness) -> None:
    refused, gone = post.enrol(2)
    post.db.execute("insert into notify.consents values (%s, 'reports', false)", [refused])
    post.db.execute("delete from core.provider_accounts where user_id = %s", [gone])
    post.db.execute("delete from core.users where user_id = %s", [gone])
    totals = sent(post, tell(post, [refused, gone]).run_id)
    assert (totals["sent"], totals["suppressed"]) == (0, 2)


def test_a_template_that_names_what_is_not_said_stops_before_anything_is_kept(post: NoticeHarness) -> None:
    ids = post.enrol(1)
    with pytest.raises(TemplateBroken, match="'month' is undefined"):
        tell(post, ids, values={})
    for table in ("runs", "announcements", "chunks", "deliveries"):
        assert post.db.execute(f"select count(*) from notify.{table}".encode()).fetchone() == (0,)


@pytest.mark.parametrize(
    ("users", "key", "values", "message"),
    [
        ([], "k", SPENT, "it is for 0 users"),
        (list(range(1_001)), "k", SPENT, "it is for 1,001 users, and may be for 1 to 1,000"),
        ([1], "", SPENT, "its key must be printable, and of 1 to 200 characters"),
        ([1], "k" * 201, SPENT, "its key must be printable"),
        ([1], "a\nb", SPENT, "its key must be printable"),
        ([1], "k", {"amount": object()}, "its values are no JSON"),
        ([1], "k", {"amount": float("nan")}, "its values are no JSON"),
        ([1], "k", {"payee": "Joe\0"}, "its values hold characters that cannot be kept"),
        ([1], "k", {"payee": "Joe\udcff"}, "its values hold characters that cannot be kept"),
        ([0], "k", SPENT, "0 is the id of no user"),
        ([2**63 - 1], "k", SPENT, "9223372036854775807 is the id of no user"),
        ([2**70], "k", SPENT, "is the id of no user"),
    ],
)
def test_what_cannot_be_announced_is_refused(
    post: NoticeHarness, users: list[int], key: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnnouncementInvalid, match=message):
        tell(post, users, key, values)


def test_a_run_goes_on_where_it_stopped(post: NoticeHarness) -> None:
    ids = post.enrol(25)
    planned = tell(post, ids)
    assert planned.ordinals == [0, 1, 2]
    post.send(planned.run_id, [1])
    assert sent(post, planned.run_id)["sent"] == 25
    assert set(post.mailbox.addresses.values()) == {1}


@pytest.mark.parametrize("asked", [{}, {"run_id": "1"}, {"run_id": None}])
def test_a_run_of_the_dag_must_name_one_of_ours(post: NoticeHarness, asked: dict[str, Any]) -> None:
    with pytest.raises(ConfInvalid, match="notify_now: run_id in its conf is"):
        send_announced(asked, notices=[], db=post.db, limiter=post.limiter, build_senders=lambda _: {})


def test_a_run_for_everybody_does_not_go_through_the_urgent_queue(post: NoticeHarness) -> None:
    post.enrol(3)
    planned = post.plan()
    with pytest.raises(ConfInvalid, match="was not announced; the Dag notify_monthly_report sends it"):
        sent(post, planned.run_id)
    assert post.states() == {}


def test_a_run_of_a_notice_that_is_gone_is_refused(post: NoticeHarness) -> None:
    planned = tell(post, post.enrol(1))
    with pytest.raises(ConfInvalid, match="is one of monthly_report, which is not declared"):
        asked = {"run_id": planned.run_id}
        send_announced(asked, notices=[], db=post.db, limiter=post.limiter, build_senders=lambda _: {})
    with pytest.raises(ChunkMissing):
        post.send(planned.run_id, [9])
