"""Purge of the delivery ledger, after which no message is sent twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from etl.catalog.retention import RETENTION
from etl.db.connection import Connection
from etl.errors import ChunkMissing
from etl.maintenance.purge_tables import purge_deliveries
from etl.maintenance.store import expired_deliveries
from etl.notify.announce import plan_announcement
from etl.notify.store import chunks
from etl.notify.store.runs import RunState
from tests.integration.notify.notice_harness import NoticeHarness

Rows = Callable[..., list[tuple[object, ...]]]
AGED = RETENTION.deliveries + timedelta(days=1)


def purge_and_count(db: Connection, *, dry_run: bool = False) -> tuple[int, ...]:
    """Purge, and return the numbers of removed chunks and deliveries."""
    results = purge_deliveries(RETENTION, db=db, as_of=datetime.now(UTC), dry_run=dry_run)
    return tuple(result.count for result in results)


def age(db: Connection, run_id: int, by: timedelta = AGED) -> None:
    """Move the times of a run and of its deliveries into the past."""
    values = (by, by, run_id)
    db.execute(
        "update notify.runs set planned_at = planned_at - %s, ended_at = ended_at - %s where run_id = %s", values
    )
    db.execute("update notify.deliveries set claimed_at = claimed_at - %s where run_id = %s", values[1:])


@pytest.fixture
def old_run(post: NoticeHarness) -> int:
    """Return a run of three chunks and 25 deliveries that ended long ago."""
    post.enrol(25)
    run_id = post.send_all().run_id
    age(post.db, run_id)
    return run_id


def test_deliveries_past_their_retention_are_removed_and_the_run_stays(
    post: NoticeHarness, old_run: int, rows: Rows
) -> None:
    assert purge_and_count(post.db, dry_run=True) == (3, 25)
    assert post.states() == {"sent": 25}
    assert purge_and_count(post.db) == (3, 25)
    assert purge_and_count(post.db) == (0, 0)
    assert post.states() == {}
    assert rows("select run_id, period, state from notify.runs") == [(old_run, "2026-10", "done")]


def test_period_whose_deliveries_were_purged_is_not_sent_again(post: NoticeHarness, old_run: int) -> None:
    purge_and_count(post.db)
    post.mailbox.arrived.clear()
    assert post.plan().ordinals == []
    assert post.plan(trigger="another").ordinals == []
    with pytest.raises(ChunkMissing):
        post.send(old_run)
    assert post.mailbox.arrived == []


def test_users_and_values_of_an_announcement_are_removed_with_its_chunks(post: NoticeHarness, rows: Rows) -> None:
    values = {"month": "May", "currencies": []}
    run_id = plan_announcement(post.notice, post.enrol(3), "flag-1", values, db=post.db).run_id
    post.send(run_id)
    announcement = "select cardinality(users), said from notify.announcements"
    assert purge_and_count(post.db) == (0, 0)
    age(post.db, run_id)
    assert purge_and_count(post.db, dry_run=True) == (1, 3)
    assert rows(announcement) == [(3, values)]
    assert purge_and_count(post.db) == (1, 3)
    assert rows(announcement) == [(0, {})]
    assert plan_announcement(post.notice, [1], "flag-1", values, db=post.db).ordinals == []


@pytest.mark.parametrize("state", ["running", "paused"])
def test_deliveries_of_an_unfinished_run_stay_and_the_run_is_logged(
    post: NoticeHarness, old_run: int, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    post.db.execute("update notify.runs set state = %s, ended_at = null", (state,))
    with caplog.at_level(logging.WARNING):
        assert purge_and_count(post.db) == (0, 0)
    assert f"`sluice notify cancel RUN` ends one; the first is {old_run}" in caplog.text
    assert post.states() == {"sent": 25}


@pytest.mark.parametrize("state", [RunState.CANCELLED, RunState.FAILED])
def test_cancelled_or_failed_run_is_purged_like_a_finished_one(post: NoticeHarness, state: RunState) -> None:
    post.enrol(25)
    planned = post.plan()
    post.send(planned.run_id, planned.ordinals[:1])
    post.db.execute("update notify.runs set state = %s, ended_at = now()", (state.value,))
    age(post.db, planned.run_id)
    assert purge_and_count(post.db) == (3, 9)


def test_deliveries_of_a_run_that_ended_within_the_retention_stay(post: NoticeHarness, old_run: int) -> None:
    post.db.execute("update notify.runs set ended_at = now() - %s", (RETENTION.deliveries - timedelta(hours=1),))
    assert purge_and_count(post.db) == (0, 0)
    assert post.states() == {"sent": 25}


def test_purge_continues_past_a_kept_run_and_stops_at_recent_ones(
    post: NoticeHarness, old_run: int, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setattr(expired_deliveries, "MAX_DELIVERIES", 4)
    monkeypatch.setattr(expired_deliveries, "MAX_RUNS", 1)
    stuck, ended, young = (post.send_all(period=f"2027-0{month}").run_id for month in (1, 2, 3))
    for run_id in (stuck, ended):
        age(post.db, run_id)
    post.db.execute("update notify.runs set state = 'paused', ended_at = null where run_id = %s", (stuck,))
    assert purge_and_count(post.db, dry_run=True) == (6, 50)
    assert purge_and_count(post.db) == (6, 50)
    assert rows("select run_id, count(*) from notify.deliveries group by 1 order by 1") == [(stuck, 25), (young, 25)]


def test_purge_interrupted_between_chunks_and_deliveries_continues(post: NoticeHarness, old_run: int) -> None:
    post.db.execute("delete from notify.chunks")
    assert purge_and_count(post.db) == (0, 25)


def test_deliveries_of_a_run_with_chunks_stay(post: NoticeHarness, old_run: int) -> None:
    deliveries = expired_deliveries.purge_deliveries(post.db, before=datetime.now(UTC), dry_run=False)
    assert sum(deliveries) == 0
    assert post.states() == {"sent": 25}


@pytest.mark.parametrize("change", ["state = 'paused', ended_at = null", "ended_at = now() - '399 days'::interval"])
def test_run_without_chunks_is_purged_no_earlier(post: NoticeHarness, old_run: int, change: str) -> None:
    post.db.execute("delete from notify.chunks")
    post.db.execute(f"update notify.runs set {change}".encode())
    assert purge_and_count(post.db) == (0, 0)
    assert post.states() == {"sent": 25}


def test_run_reopened_during_a_purge_keeps_its_chunks_and_deliveries(
    post: NoticeHarness, old_run: int, connect: Callable[[], Connection], rows: Rows
) -> None:
    opening, purging = connect(), connect()
    with ThreadPoolExecutor(1) as other:
        with opening.transaction():
            opening.execute("update notify.runs set state = 'running', ended_at = null")
            purge = other.submit(purge_and_count, purging)
            while not rows("select 1 from pg_locks where not granted and pid = %s", purging.info.backend_pid):
                assert not purge.done()
        assert purge.result() == (0, 0)
    assert post.states() == {"sent": 25}
    assert len(chunks.list_unfinished(post.db, old_run)) == 0
    assert rows("select count(*) from notify.chunks") == [(3,)]


def test_purge_reads_the_ledger_by_its_key(post: NoticeHarness, old_run: int, rows: Rows) -> None:
    def scans() -> list[tuple[object, ...]]:
        post.db.execute("select pg_stat_force_next_flush()")
        return rows("select seq_scan from pg_stat_user_tables where relid = 'notify.deliveries'::regclass")

    before = scans()
    post.db.execute("set enable_seqscan = off")
    assert purge_and_count(post.db) == (3, 25)
    assert scans() == before
