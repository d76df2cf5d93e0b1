"""What a run of a notice's Dag plans, by its kind and its conf."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.declare.notice import After
from etl.notify.plan import PlannedRun
from etl.notify.report import report_run
from etl.notify.run_request import ConfInvalid, RunRequest, plan_requested_run, requested_period
from etl.notify.store import runs
from etl.notify.store.runs import NoticeRunMissing
from tests.integration.notify.notice_harness import FAST, NoticeHarness

BEGIN, END = datetime(2026, 10, 1, 8, tzinfo=UTC), datetime(2026, 11, 1, 8, tzinfo=UTC)
SCHEDULED = RunRequest("scheduled__1", "scheduled", END, (BEGIN, END))
MANUAL = RunRequest("manual__1", "manual", datetime(2026, 11, 23, tzinfo=UTC))


def plan(post: NoticeHarness, occasion: RunRequest, **asked: Any) -> PlannedRun | None:
    return plan_requested_run(post.notice, replace(occasion, conf=asked), db=post.db)


@pytest.mark.parametrize(
    ("schedule", "occasion", "expected"),
    [
        ("0 8 1 * *", SCHEDULED, "2026-10"),
        ("0 8 1 * *", MANUAL, "2026-10"),
        ("0 8 1 * *", replace(MANUAL, logical_date=END), "2026-10"),
        ("0 8 1 * *", replace(MANUAL, logical_date=END - timedelta(seconds=1)), "2026-09"),
        ("0 8 1 * *", replace(MANUAL, conf={"period": "2025-12"}), "2025-12"),
        (After("transactions"), replace(MANUAL, run_type="asset_triggered"), "2026-11"),
        (None, MANUAL, "2026-11"),
    ],
)
def test_a_run_is_about_its_interval_or_the_last_one_that_is_over(
    schedule: str | After | None, occasion: RunRequest, expected: str
) -> None:
    assert requested_period(replace(FAST, schedule=schedule), occasion) == expected


def test_the_audience_of_a_scheduled_run_is_who_was_there_when_it_was_due(post: NoticeHarness) -> None:
    post.enrol(3)
    planned = plan(post, SCHEDULED)
    assert planned is not None
    assert post.run(planned.run_id).as_of == END
    by_hand = plan(post, MANUAL, period="2026-09")
    assert by_hand is not None
    assert datetime.now(UTC) - post.run(by_hand.run_id).as_of < timedelta(minutes=1)


def test_a_backfill_sends_nothing_unless_it_names_the_notice(post: NoticeHarness) -> None:
    post.enrol(3)
    backfill = replace(SCHEDULED, run_type="backfill")
    assert plan(post, backfill) is None
    assert plan(post, backfill, send="another") is None
    assert runs.find_by_period(post.db, post.notice, "2026-10") is None
    planned = plan(post, backfill, send="monthly_report")
    assert planned is not None
    assert planned.ordinals == [0]


def test_a_run_that_is_made_too_late_to_be_of_use_sends_nothing_and_leaves_the_period(post: NoticeHarness) -> None:
    post.enrol(3)
    post.notice = replace(FAST, expiry=timedelta(days=7))
    long_ago = replace(SCHEDULED, data_interval=(BEGIN - timedelta(days=365), END - timedelta(days=365)))
    assert plan(post, long_ago) is None
    by_hand = plan(post, MANUAL, period="2025-10")
    assert by_hand is not None
    assert by_hand.ordinals == [0]


def test_a_run_that_was_reopened_is_gone_on_with(post: NoticeHarness) -> None:
    post.enrol(25)
    planned = post.plan()
    post.send(planned.run_id, [0, 2])
    assert plan(post, MANUAL, run_id=planned.run_id) == PlannedRun(planned.run_id, [1])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"period": 2026}, "period in its conf is 2026"),
        ({"period": ""}, "period in its conf is empty"),
        ({"run_id": "1"}, "run_id in its conf is '1'"),
        ({"run_id": True}, "run_id in its conf is True"),
        ({"parameters": []}, r"parameters in its conf is \[\]"),
        ({"period": "2026-1"}, "'2026-1' is no period"),
        ({"period": "2026-oct"}, "'2026-oct' is no period"),
        ({"period": "key:flag-1"}, "'key:flag-1' is no period"),
        ({"period": "2026-10'"}, "is no period"),
        ({"period": f"{datetime.now(UTC):%Y-%m}"}, "is not over, and would not be sent again when it is"),
        ({"period": "2999-01"}, "'2999-01' is not over"),
        ({"period": "x" * 10_000}, "'xxxxxxxxxxxx...xxxxxxxxxxxxx' is no period"),
    ],
)
def test_what_makes_no_sense_is_refused_with_an_example(
    post: NoticeHarness, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfInvalid, match=message):
        plan(post, MANUAL, **asked)


def test_a_run_of_another_notice_or_of_none_is_not_gone_on_with(post: NoticeHarness) -> None:
    planned = post.plan()
    post.notice = replace(FAST, name="another")
    with pytest.raises(ConfInvalid, match="is one of monthly_report"):
        plan(post, MANUAL, run_id=planned.run_id)
    with pytest.raises(NoticeRunMissing):
        plan(post, MANUAL, run_id=99)


def test_what_came_of_a_run_is_kept_with_it(post: NoticeHarness) -> None:
    post.enrol(12)
    planned = post.plan()
    post.send(planned.run_id, [0])
    kept = "select totals from notify.runs"
    assert report_run(post.notice, planned.run_id, db=post.db)["sent"] == 6
    post.send(planned.run_id, [1])
    counts = report_run(post.notice, planned.run_id, db=post.db)
    assert (counts["sent"], counts["chunks_finished"]) == (12, 2)
    assert post.db.execute(kept).fetchone() == (counts,)
    assert report_run(post.notice, None, db=post.db) == {}
