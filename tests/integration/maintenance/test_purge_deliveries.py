"""What maintenance forgets of the ledger, and that nobody is told twice by it."""

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
from etl.maintenance.store import expired
from etl.notify.announce import plan_announcement
from etl.notify.store import chunks, runs
from etl.notify.store.runs import RunState
from tests.integration.notify.notice_harness import NoticeHarness

Rows = Callable[..., list[tuple[object, ...]]]
AGED = RETENTION.deliveries + timedelta(days=1)


def removed(db: Connection, *, dry_run: bool = False) -> tuple[int, ...]:
    """Purge, and return how many chunks and deliveries went."""
    found = purge_deliveries(RETENTION, db=db, as_of=datetime.now(UTC), dry_run=dry_run)
    return tuple(each.count for each in found)


def age(db: Connection, run_id: int, by: timedelta = AGED) -> None:
    """Let a run, and its deliveries, be of another day."""
    values = (by, by, run_id)
    db.execute(
        "update notify.runs set planned_at = planned_at - %s, ended_at = ended_at - %s where run_id = %s", values
    )
    db.execute("update notify.deliveries set claimed_at = claimed_at - %s where run_id = %s", values[1:])


@pytest.fixture
def old(post: NoticeHarness) -> int:
    """Return a run of three chunks and 25 deliveries that ended long ago."""
    post.enrol(25)
    run_id = post.send_all().run_id
    age(post.db, run_id)
    return run_id


def test_what_is_past_its_retention_goes_and_its_run_stays(post: NoticeHarness, old: int, rows: Rows) -> None:
    assert removed(post.db, dry_run=True) == (3, 25)
    assert post.states() == {"sent": 25}
    assert removed(post.db) == (3, 25)
    assert removed(post.db) == (0, 0)
    assert post.states() == {}
    assert rows("select run_id, period, state from notify.runs") == [(old, "2026-10", "done")]


def test_of_a_period_whose_deliveries_are_gone_nobody_is_told_again(post: NoticeHarness, old: int) -> None:
    removed(post.db)
    post.mailbox.arrived.clear()
    assert post.plan().ordinals == []
    assert post.plan(trigger="another").ordinals == []
    with pytest.raises(ChunkMissing):
        post.send(old)
    assert post.mailbox.arrived == []


def test_whom_an_announcement_was_for_and_what_it_said_goes_with_its_chunks(post: NoticeHarness, rows: Rows) -> None:
    said = {"month": "May", "spending": []}
    run_id = plan_announcement(post.notice, post.enrol(3), "flag-1", said, db=post.db).run_id
    post.send(run_id)
    kept = "select cardinality(users), said from notify.announcements"
    assert removed(post.db) == (0, 0)
    age(post.db, run_id)
    assert removed(post.db, dry_run=True) == (1, 3)
    assert rows(kept) == [(3, said)]
    assert removed(post.db) == (1, 3)
    assert rows(kept) == [(0, {})]
    assert plan_announcement(post.notice, [1], "flag-1", said, db=post.db).ordinals == []


@pytest.mark.parametrize("state", ["running", "paused"])
def test_the_deliveries_of_a_run_that_has_not_ended_stay_and_it_is_named(
    post: NoticeHarness, old: int, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    post.db.execute("update notify.runs set state = %s, ended_at = null", (state,))
    with caplog.at_level(logging.WARNING):
        assert removed(post.db) == (0, 0)
    assert f"`python -m etl notify cancel RUN` ends one; the first is {old}" in caplog.text
    assert post.states() == {"sent": 25}


def test_a_run_that_was_cancelled_goes_like_one_that_is_done(post: NoticeHarness) -> None:
    post.enrol(25)
    planned = post.plan()
    post.send(planned.run_id, planned.ordinals[:1])
    runs.set_pace_or_state(post.db, planned.run_id, state=RunState.CANCELLED)
    age(post.db, planned.run_id)
    assert removed(post.db) == (3, 9)


def test_what_ended_within_its_retention_stays_though_it_began_before(post: NoticeHarness, old: int) -> None:
    post.db.execute("update notify.runs set ended_at = now() - %s", (RETENTION.deliveries - timedelta(hours=1),))
    assert removed(post.db) == (0, 0)
    assert post.states() == {"sent": 25}


def test_pages_go_on_behind_what_stays_and_end_where_the_past_ends(
    post: NoticeHarness, old: int, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setattr(expired, "MAX_DELIVERIES", 4)
    monkeypatch.setattr(expired, "MAX_RUNS", 1)
    stuck, ended, young = (post.send_all(period=f"2027-0{month}").run_id for month in (1, 2, 3))
    for run_id in (stuck, ended):
        age(post.db, run_id)
    post.db.execute("update notify.runs set state = 'paused', ended_at = null where run_id = %s", (stuck,))
    assert removed(post.db, dry_run=True) == (6, 50)
    assert removed(post.db) == (6, 50)
    assert rows("select run_id, count(*) from notify.deliveries group by 1 order by 1") == [(stuck, 25), (young, 25)]


def test_a_purge_that_was_interrupted_between_chunks_and_deliveries_goes_on(post: NoticeHarness, old: int) -> None:
    post.db.execute("delete from notify.chunks")
    assert removed(post.db) == (0, 25)


def test_the_deliveries_of_a_run_that_has_chunks_stay(post: NoticeHarness, old: int) -> None:
    deliveries = expired.purge_deliveries(post.db, before=datetime.now(UTC), dry_run=False)
    assert sum(deliveries) == 0
    assert post.states() == {"sent": 25}


@pytest.mark.parametrize("change", ["state = 'paused', ended_at = null", "ended_at = now() - '399 days'::interval"])
def test_without_its_chunks_a_run_is_no_older(post: NoticeHarness, old: int, change: str) -> None:
    post.db.execute("delete from notify.chunks")
    post.db.execute(f"update notify.runs set {change}".encode())
    assert removed(post.db) == (0, 0)
    assert post.states() == {"sent": 25}


def test_a_run_that_is_opened_again_while_it_is_purged_is_waited_for_and_keeps_all(
    post: NoticeHarness, old: int, connect: Callable[[], Connection], rows: Rows
) -> None:
    opening, purging = connect(), connect()
    with ThreadPoolExecutor(1) as other:
        with opening.transaction():
            opening.execute("update notify.runs set state = 'running', ended_at = null")
            purge = other.submit(removed, purging)
            while not rows("select 1 from pg_locks where not granted and pid = %s", purging.info.backend_pid):
                assert not purge.done()
        assert purge.result() == (0, 0)
    assert post.states() == {"sent": 25}
    assert len(chunks.list_unfinished(post.db, old)) == 0
    assert rows("select count(*) from notify.chunks") == [(3,)]


def test_the_ledger_is_walked_by_its_key(post: NoticeHarness, old: int, rows: Rows) -> None:
    def scans() -> list[tuple[object, ...]]:
        post.db.execute("select pg_stat_force_next_flush()")
        return rows("select seq_scan from pg_stat_user_tables where relid = 'notify.deliveries'::regclass")

    before = scans()
    post.db.execute("set enable_seqscan = off")
    assert removed(post.db) == (3, 25)
    assert scans() == before
