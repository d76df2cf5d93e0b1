"""Runs of many recipients wait for a person; see `test_notice_approval.py` for the task that asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.db.connection import Connection
from etl.notify.estimate import estimate_run
from etl.notify.review.approval import MAX_WAIT, describe_run, find_request, max_wait
from etl.notify.store import approvals, progress
from tests.integration.notify.notice_harness import FAST, NOW, NoticeHarness

LIMIT = 3


@pytest.fixture
def post(post: NoticeHarness) -> NoticeHarness:
    """Return a harness whose notice asks for runs of more than three recipients."""
    post.notice = replace(FAST, approval_above=LIMIT, pace=2)
    post.enrol(LIMIT)
    return post


def test_a_run_at_the_limit_needs_no_approval(post: NoticeHarness) -> None:
    assert not estimate_run(post.notice, "2026-10", as_of=NOW, db=post.db).needs_approval
    run_id = post.plan().run_id
    assert post.run(run_id).state == "running"
    assert find_request(post.notice, run_id, db=post.db) is None


@pytest.mark.parametrize(("decide", "state"), [(approvals.approve, "running"), (approvals.reject, "cancelled")])
def test_a_run_above_the_limit_waits_for_an_answer(
    post: NoticeHarness, decide: Callable[[Connection, int], bool], state: str
) -> None:
    post.enrol(1)
    assert estimate_run(post.notice, "2026-10", as_of=NOW, db=post.db).needs_approval
    run_id = post.plan().run_id
    status = progress.find_status(post.db, run_id)
    assert (status.state, status.reason) == ("held", "waits for approval, since it has 4 recipients")
    request = find_request(post.notice, run_id, db=post.db)
    assert request is not None
    assert request.subject == "Send monthly_report 2026-10 to 4 recipients?"
    assert decide(post.db, run_id)
    assert (post.run(run_id).state, post.run(run_id).reason) == (state, "")
    assert find_request(post.notice, run_id, db=post.db) is None
    assert not decide(post.db, run_id)
    assert post.run(run_id).state == state


def test_a_run_that_is_held_for_another_reason_is_not_approved(post: NoticeHarness) -> None:
    run_id = post.plan().run_id
    post.db.execute("update notify.runs set state = 'held', reason = 'refused by all' where run_id = %s", (run_id,))
    assert find_request(post.notice, run_id, db=post.db) is None
    assert not approvals.approve(post.db, run_id)


def test_the_question_says_how_long_the_run_takes_and_until_when_it_waits(post: NoticeHarness) -> None:
    post.notice = replace(post.notice, expiry=timedelta(hours=4))
    run = post.run(post.plan(as_of=NOW).run_id)
    body = describe_run(post.notice, run, 7_200, as_of=NOW).body
    assert "**7,200 recipients**, over email" in body
    assert "takes at most 1:00:00: until about **2026-11-01 09:00 UTC** if" in body
    assert "    sluice notify preview monthly_report --period 2026-10 --sample 20 --out seen\n" in body
    assert body.endswith("Without an answer until 2026-11-01 12:00 UTC it is rejected.")


def test_nobody_is_asked_for_longer_than_the_messages_are_of_use(post: NoticeHarness) -> None:
    assert max_wait(replace(post.notice, expiry=timedelta(hours=4))) == timedelta(hours=4)
    assert max_wait(replace(post.notice, expiry=None)) == MAX_WAIT
