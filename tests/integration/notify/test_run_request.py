"""What a run of a notice's Dag plans, depending on its type and its conf."""

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


def plan(post: NoticeHarness, run_request: RunRequest, **conf: Any) -> PlannedRun | None:
    return plan_requested_run(post.notice, replace(run_request, conf=conf), db=post.db)


@pytest.mark.parametrize(
    ("schedule", "run_request", "expected"),
    [
        ("0 8 1 * *", SCHEDULED, "2026-10"),
        ("0 8 1 * *", MANUAL, "2026-10"),
        ("0 8 1 * *", replace(MANUAL, run_at=END), "2026-10"),
        ("0 8 1 * *", replace(MANUAL, run_at=END - timedelta(seconds=1)), "2026-09"),
        ("0 8 1 * *", replace(MANUAL, conf={"period": "2025-12"}), "2025-12"),
        (After("transactions"), replace(MANUAL, run_type="asset_triggered"), "2026-11"),
        (None, MANUAL, "2026-11"),
    ],
)
def test_period_is_the_interval_of_the_run_or_the_last_complete_one(
    schedule: str | After | None, run_request: RunRequest, expected: str
) -> None:
    assert requested_period(replace(FAST, schedule=schedule), run_request) == expected


def test_audience_of_a_scheduled_run_is_frozen_at_the_end_of_its_interval(post: NoticeHarness) -> None:
    post.enrol(3)
    planned = plan(post, SCHEDULED)
    assert planned is not None
    assert post.run(planned.run_id).as_of == END
    manual = plan(post, MANUAL, period="2026-09")
    assert manual is not None
    assert datetime.now(UTC) - post.run(manual.run_id).as_of < timedelta(minutes=1)


def test_a_backfill_sends_nothing_unless_it_names_the_notice(post: NoticeHarness) -> None:
    post.enrol(3)
    backfill = replace(SCHEDULED, run_type="backfill")
    assert plan(post, backfill) is None
    assert plan(post, backfill, send="another") is None
    assert runs.find_by_period(post.db, post.notice, "2026-10") is None
    planned = plan(post, backfill, send="monthly_report")
    assert planned is not None
    assert planned.ordinals == [0]


def test_run_created_after_its_expiry_sends_nothing_and_leaves_the_period_free(post: NoticeHarness) -> None:
    post.enrol(3)
    post.notice = replace(FAST, expiry=timedelta(days=7))
    expired = replace(SCHEDULED, data_interval=(BEGIN - timedelta(days=365), END - timedelta(days=365)))
    assert plan(post, expired) is None
    manual = plan(post, MANUAL, period="2025-10")
    assert manual is not None
    assert manual.ordinals == [0]


def test_a_planned_run_is_continued_after_its_expiry(post: NoticeHarness) -> None:
    post.enrol(25)
    post.db.execute("update core.users set created_at = '2020-01-01'")
    late = replace(SCHEDULED, data_interval=(BEGIN - timedelta(days=365), END - timedelta(days=365)))
    planned = plan(post, late)
    assert planned is not None
    assert planned.ordinals == [0, 1, 2]
    post.send(planned.run_id, [0, 2])
    post.notice = replace(FAST, expiry=timedelta(days=7))
    assert plan(post, late) == PlannedRun(planned.run_id, [1])
    assert plan(post, replace(late, trigger="another")) == PlannedRun(planned.run_id, [])


def test_reopened_run_continues_with_its_unfinished_chunks(post: NoticeHarness) -> None:
    post.enrol(25)
    planned = post.plan()
    post.send(planned.run_id, [0, 2])
    assert plan(post, MANUAL, run_id=planned.run_id) == PlannedRun(planned.run_id, [1])


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"period": 2026}, "period in its conf is 2026"),
        ({"period": ""}, "period in its conf is empty"),
        ({"run_id": "1"}, "run_id in its conf is '1'"),
        ({"run_id": True}, "run_id in its conf is True"),
        ({"parameters": []}, r"parameters in its conf is \[\]"),
        ({"period": "2026-1"}, "period '2026-1' does not have the format '%Y-%m'"),
        ({"period": "2026-oct"}, "period '2026-oct' does not have the format '%Y-%m'"),
        ({"period": "key:flag-1"}, "period 'key:flag-1' does not have the format '%Y-%m'"),
        ({"period": "2026-10'"}, "does not have the format"),
        ({"period": f"{datetime.now(UTC):%Y-%m}"}, "has not ended, and would not be sent again when it has"),
        ({"period": "2999-01"}, "period '2999-01' has not ended"),
        ({"period": "x" * 10_000}, "period 'xxxxxxxxxxxx...xxxxxxxxxxxxx' does not have the format"),
    ],
)
def test_invalid_conf_is_refused(post: NoticeHarness, conf: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfInvalid, match=message):
        plan(post, MANUAL, **conf)


def test_run_id_of_another_notice_or_of_no_run_is_refused(post: NoticeHarness) -> None:
    planned = post.plan()
    post.notice = replace(FAST, name="another")
    with pytest.raises(ConfInvalid, match="belongs to notice monthly_report"):
        plan(post, MANUAL, run_id=planned.run_id)
    with pytest.raises(NoticeRunMissing):
        plan(post, MANUAL, run_id=99)


def test_report_stores_the_totals_with_the_run(post: NoticeHarness) -> None:
    post.enrol(12)
    planned = post.plan()
    post.send(planned.run_id, [0])
    stored_totals = "select totals from notify.runs"
    assert report_run(post.notice, planned.run_id, db=post.db)["sent"] == 6
    post.send(planned.run_id, [1])
    counts = report_run(post.notice, planned.run_id, db=post.db)
    assert (counts["sent"], counts["chunks_finished"]) == (12, 2)
    assert post.db.execute(stored_totals).fetchone() == (counts,)
    assert report_run(post.notice, None, db=post.db) == {}
