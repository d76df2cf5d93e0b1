"""Progress and rate of a run, computed from the page history of its chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.db.connection import Connection
from etl.notify.progress import RunProgress, read_progress
from etl.notify.store import runs
from etl.notify.store.runs import RunState
from tests.integration.notify.notice_harness import FAST, NoticeHarness
from tests.integration.notify.retried_runs import fail_some, retry, send_unfinished

Rows = Callable[..., list[tuple[object, ...]]]


def progress_of(post: NoticeHarness, run_id: int) -> RunProgress:
    return read_progress(run_id, channel_count=len(post.notice.channels), as_of=datetime.now(UTC), db=post.db)


def test_rate_counts_only_pages_of_the_last_minute(post: NoticeHarness, db: Connection) -> None:
    post.enrol(40)
    planned = post.plan()
    post.send(planned.run_id, [0])
    db.execute("update notify.runs set planned_at = now() - interval '1 hour'")
    db.execute(
        "update notify.chunks set page_ends = array[now() - interval '70 s', now() - interval '20 s', now()], "
        "page_sizes = '{500, 120, 60}' where ordinal = 0"
    )
    progress = progress_of(post, planned.run_id)
    assert progress.rate == pytest.approx(180 / 60, rel=0.02)
    assert progress.time_left == pytest.approx(timedelta(seconds=30 / (180 / 60)), rel=0.02)


def test_truncated_page_history_shortens_the_measured_span(post: NoticeHarness, db: Connection) -> None:
    post.enrol(40)
    planned = post.plan()
    db.execute("update notify.runs set planned_at = now() - interval '1 hour'")
    db.execute(
        "update notify.chunks set page_sizes = array_fill(100, array[32]), page_ends = array("
        "select now() - interval '1 s' * i from generate_series(31, 0, -1) as i) where ordinal = 0"
    )
    progress = progress_of(post, planned.run_id)
    assert progress.recent.seconds == pytest.approx(31, abs=1)
    assert progress.rate == pytest.approx(100, rel=0.03)


def test_last_32_pages_with_messages_are_recorded(post: NoticeHarness, rows: Rows) -> None:
    post.enrol(40)
    post.notice = replace(FAST, pace=1_000, chunk_size=100)
    planned = post.plan()
    post.send(planned.run_id)
    assert rows("select page_sizes, cardinality(page_ends) from notify.chunks") == [([40], 1)]
    post.db.execute(
        "update notify.chunks set position = start - 1, finished_at = null, "
        "page_sizes = array_fill(7, array[32]), page_ends = array_fill(now(), array[32])"
    )
    post.db.execute("delete from notify.deliveries where delivery_id <= 5")
    post.send(planned.run_id)
    assert rows("select page_sizes[31:], cardinality(page_sizes), cardinality(page_ends) from notify.chunks") == [
        ([7, 5], 32, 32)
    ]


def test_without_a_rate_the_time_left_follows_from_the_pace(post: NoticeHarness) -> None:
    post.enrol(40)
    post.notice = replace(FAST, pace=4)
    progress = progress_of(post, post.plan().run_id)
    assert (progress.rate, progress.average_rate, progress.time_left) == (None, None, timedelta(seconds=10))


def test_run_that_does_not_send_has_no_estimated_time_left(post: NoticeHarness) -> None:
    post.enrol(40)
    planned = post.plan()
    for change in ({"pace": 0.0}, {"pace": 5.0, "state": RunState.PAUSED}, {"state": RunState.CANCELLED}):
        runs.set_pace_or_state(post.db, planned.run_id, **change)
        assert progress_of(post, planned.run_id).time_left is None


def test_unreachable_recipients_add_nothing_to_the_time_left(post: NoticeHarness, db: Connection) -> None:
    post.enrol(40)
    db.execute("delete from notify.contacts where user_id % 2 = 0")
    planned = post.plan()
    post.send(planned.run_id, [0, 1])
    runs.set_pace_or_state(post.db, planned.run_id, pace=1)
    db.execute("update notify.chunks set page_ends = '{}', page_sizes = '{}'")
    progress = progress_of(post, planned.run_id)
    assert (progress.ended_deliveries, progress.expected_deliveries, progress.time_left) == (
        20,
        40,
        timedelta(seconds=10),
    )


def test_progress_of_a_retry_counts_its_deliveries_from_the_start(post: NoticeHarness, db: Connection) -> None:
    run_id, _ = fail_some(post)
    assert progress_of(post, run_id).failures == {"421": 2, "550": 1}
    retry(post, run_id)
    progress = progress_of(post, run_id)
    assert (progress.ended_deliveries, progress.expected_deliveries, progress.is_over) == (22, 25, False)
    db.execute("update notify.runs set pace = 3")
    db.execute("update notify.chunks set page_ends = '{}', page_sizes = '{}'")
    assert progress_of(post, run_id).time_left == timedelta(seconds=1)
    db.execute("update notify.runs set pace = 1000")
    send_unfinished(post, run_id)
    progress = progress_of(post, run_id)
    assert (progress.ended_deliveries, progress.expected_deliveries, progress.is_over, progress.failures) == (
        25,
        25,
        True,
        {},
    )
