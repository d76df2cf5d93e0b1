"""Purge of raw batches: which are removed, and which must be kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.retention import RETENTION
from etl.db import locks
from etl.db.connection import Connection
from etl.db.waits import WarehouseBusy
from etl.declare.fault import DeclarationFault
from etl.errors import DeclarationError, RawPurged
from etl.maintenance.purge import purge
from etl.maintenance.purge_storage import purge_raw
from etl.maintenance.removed import PurgeResult
from etl.maintenance.store import expired
from etl.storage import listing
from etl.sync.plan import plan
from etl.sync.store import raw_batches
from tests.integration.maintenance.purging import AFTER_RETENTION, RawPurge, load_for_all
from tests.integration.sync.pipeline import FIRST, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OBJECTS = "select count(*) from etl.raw_batches where purged_at is null"


@pytest.fixture
def raw_purge(pipeline: Pipeline) -> RawPurge:
    return RawPurge(pipeline)


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


@pytest.fixture
def loaded(pipeline: Pipeline, account: int) -> int:
    """Return the id of a raw batch that every reader of its source has loaded."""
    raw_id = pipeline.seal_pages((account, page(added=[transaction()])))
    load_for_all(pipeline, raw_id)
    return raw_id


def test_loaded_batch_is_purged_once_and_its_rows_stay(raw_purge: RawPurge, rows: Rows, loaded: int) -> None:
    assert raw_purge.purge() == (1, 1)
    assert raw_purge.objects == []
    assert raw_purge.purge() == (0, 0)
    assert rows("select raw_id, purged_at is null from etl.raw_batches") == [(loaded, False)]
    assert rows("select raw_id from core.transactions") == [(loaded,)]


def test_a_batch_within_its_retention_stays(raw_purge: RawPurge, loaded: int) -> None:
    pipeline = raw_purge.pipeline
    soon = FIRST + RETENTION.raw_batches - timedelta(hours=1)
    removed = purge_raw(RETENTION, ENTITIES, db=pipeline.db, root=pipeline.root, as_of=soon, dry_run=False)
    assert [result.count for result in removed] == [0, 0]
    assert len(raw_purge.objects) == 1


def test_a_batch_that_nobody_loaded_is_never_purged(raw_purge: RawPurge, account: int) -> None:
    raw_purge.pipeline.seal_pages((account, page(added=[transaction()])))
    assert raw_purge.purge() == (0, 0)
    assert len(raw_purge.objects) == 1


IN_USE = {
    "an open reject": (
        (
            "insert into etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) "
            "values (1, 'transactions', 1, 1, 0, 'added[0]', 'required', 'missing')"
        ),
        "update etl.rejects set closed_at = now()",
    ),
    "a quarantined login": (
        (
            "insert into etl.quarantines "
            "(provider_account_id, entity, source, raw_id, read, rejected, path, rule, reason) "
            "values (1, 'transactions', 'transactions_sync', 1, 30, 21, 'added[].amount', 'number', '')"
        ),
        "delete from etl.quarantines",
    ),
    "an undecided reconciliation": (
        (
            "insert into etl.reconciliations (raw_id, entity, provider_account_id, state, live, absent) "
            "values (1, 'transactions', 1, 'pending', 30, 24)"
        ),
        "update etl.reconciliations set state = 'approved', decided_at = now()",
    ),
}


@pytest.mark.parametrize("reason", IN_USE)
def test_a_batch_that_must_still_be_looked_into_is_kept_at_any_age(
    raw_purge: RawPurge, loaded: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin, end = IN_USE[reason]
    raw_purge.pipeline.db.execute(begin.encode())
    assert raw_purge.purge(dry_run=True) == (0, 0)
    assert raw_purge.purge() == (0, 0)
    assert "1 raw batches" in caplog.text
    assert len(raw_purge.objects) == 1
    raw_purge.pipeline.db.execute(end.encode())
    assert raw_purge.purge() == (1, 1)


@pytest.mark.parametrize("reason", IN_USE)
def test_a_batch_that_came_into_use_after_it_was_found_is_not_purged(
    raw_purge: RawPurge, loaded: int, reason: str
) -> None:
    db = raw_purge.pipeline.db
    (page_of_batches,) = expired.find_expired_batches(db, ENTITIES, before=AFTER_RETENTION)
    db.execute(IN_USE[reason][0].encode())
    assert expired.mark_purged(db, [raw_id for raw_id, _ in page_of_batches]) == []


def test_batch_is_kept_until_every_reader_of_its_source_has_loaded_it(
    raw_purge: RawPurge, account: int, caplog: pytest.LogCaptureFixture
) -> None:
    raw_id = raw_purge.pipeline.seal_pages((account, page(added=[transaction()])))
    raw_purge.pipeline.load(raw_id)
    assert raw_purge.purge() == (0, 0)
    assert "1 raw batches sealed before" in caplog.text
    load_for_all(raw_purge.pipeline, raw_id)
    assert raw_purge.purge() == (1, 1)


def test_batch_of_a_retired_source_is_purged_only_if_it_was_loaded(
    raw_purge: RawPurge, rows: Rows, loaded: int
) -> None:
    db = raw_purge.pipeline.db
    db.execute("update etl.raw_batches set source = 'retired'")
    loads = rows("select * from etl.loads order by entity")
    db.execute("delete from etl.loads")
    assert raw_purge.purge() == (0, 0)
    raw_id, *counts = loads[0]
    marks = ", ".join(["%s"] * len(loads[0]))
    db.execute(f"insert into etl.loads values ({marks})".encode(), [raw_id, *counts])
    assert raw_purge.purge() == (1, 1)


def test_new_version_neither_delays_the_purge_nor_plans_purged_batches(raw_purge: RawPurge, loaded: int) -> None:
    pipeline = raw_purge.pipeline
    newer = replace(MERCHANTS, version=MERCHANTS.version + 1)
    assert plan(newer, "before", db=pipeline.db) == [0]
    assert raw_purge.purge() == (1, 1)
    assert plan(newer, "after", db=pipeline.db) == []


def test_declaration_fault_stops_the_purge(raw_purge: RawPurge, loaded: int) -> None:
    pipeline = raw_purge.pipeline
    with pytest.raises(DeclarationError, match="may not have loaded it: there: x is y"):
        purge(
            RETENTION,
            ENTITIES,
            [DeclarationFault("lost", "there", "x is y")],
            db=pipeline.db,
            root=pipeline.root,
            as_of=AFTER_RETENTION,
            dry_run=False,
        )
    assert len(raw_purge.objects) == 1


def test_dry_run_returns_the_same_counts_and_removes_nothing(raw_purge: RawPurge, rows: Rows, loaded: int) -> None:
    size = raw_purge.objects[0].stat().st_size
    dry = purge_raw(RETENTION, ENTITIES, as_of=AFTER_RETENTION, dry_run=True, **raw_purge.store_arguments)
    assert dry == [PurgeResult("raw batches", 1), PurgeResult("raw objects", 1, size)]
    assert rows(OBJECTS) == [(1,)]
    assert purge_raw(RETENTION, ENTITIES, as_of=AFTER_RETENTION, dry_run=False, **raw_purge.store_arguments) == dry


def test_replay_of_a_purged_batch_is_an_error_with_the_time_of_its_purge(raw_purge: RawPurge, loaded: int) -> None:
    raw_purge.purge()
    with pytest.raises(RawPurged, match=rf"raw batch {loaded} was purged at {datetime.now(UTC):%Y-%m-%d}"):
        raw_purge.pipeline.replay(loaded)


def test_object_is_removed_only_with_the_last_batch_that_names_it(raw_purge: RawPurge, account: int) -> None:
    pipeline = raw_purge.pipeline
    first, second = pipeline.seal_pages(run_id="one"), pipeline.seal_pages(run_id="two")
    assert len(raw_purge.objects) == 1
    load_for_all(pipeline, first)
    assert raw_purge.purge(dry_run=True) == (1, 0)
    assert raw_purge.purge() == (1, 0)
    assert list(raw_batches.read(pipeline.root, raw_batches.find(pipeline.db, second))) == []
    load_for_all(pipeline, second)
    assert raw_purge.purge() == (1, 1)
    assert raw_purge.objects == []


def test_purge_killed_between_row_and_object_leaves_an_orphan_to_purge(
    raw_purge: RawPurge, loaded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(listing, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            raw_purge.purge()
    assert len(raw_purge.objects) == 1
    assert raw_purge.purge() == (0, 0)
    size = raw_purge.objects[0].stat().st_size
    assert raw_purge.purge_orphans(dry_run=True) == PurgeResult("orphaned objects", 1, size)
    assert raw_purge.purge_orphans() == PurgeResult("orphaned objects", 1, size)
    assert raw_purge.objects == []


def test_an_object_that_a_batch_names_is_no_orphan(raw_purge: RawPurge, account: int) -> None:
    raw_purge.pipeline.seal_pages((account, page(added=[transaction()])))
    assert raw_purge.purge_orphans().count == 0
    assert len(raw_purge.objects) == 1


def test_an_object_that_may_still_be_sealed_is_no_orphan(raw_purge: RawPurge, loaded: int) -> None:
    path = raw_purge.objects[0].with_name("0" * 64 + ".zst")
    path.write_bytes(b"")
    now = datetime.now(UTC)
    assert raw_purge.purge_orphans(as_of=now).count == 0
    old = (now - RETENTION.unfinished).timestamp() - 60
    os.utime(path, (old, old))
    assert raw_purge.purge_orphans(as_of=now).count == 1
    assert path not in raw_purge.objects


def test_sealing_waits_while_its_object_is_being_purged(
    raw_purge: RawPurge, connect: Callable[[], Connection], account: int
) -> None:
    other = connect()
    other.execute("set lock_timeout = 200")
    first = raw_purge.pipeline.seal_pages(run_id="one")
    path = raw_batches.find(other, first).path
    with raw_purge.pipeline.db.transaction():
        raw_batches.lock_object(raw_purge.pipeline.db, path)
        with pytest.raises(Exception, match="lock timeout"):
            raw_batches.seal(other, raw_purge.pipeline.root, [], source="transactions_sync", chunk_id=1, attempt=9)


def test_a_purge_waits_while_its_object_is_being_sealed(
    raw_purge: RawPurge, connect: Callable[[], Connection], loaded: int, rows: Rows
) -> None:
    other = connect()
    ((path,),) = rows("select path from etl.raw_batches")
    raw_purge.pipeline.db.execute("set lock_timeout = 200")
    with other.transaction():
        raw_batches.lock_object(other, str(path))
        with pytest.raises(WarehouseBusy):
            raw_purge.purge()
        assert len(raw_purge.objects) == 1
    assert raw_purge.purge_orphans().count == 1


def test_an_object_that_is_sealed_again_after_it_was_listed_is_no_orphan(
    raw_purge: RawPurge, loaded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raw_purge.objects[0].with_name("0" * 64 + ".zst")
    path.write_bytes(b"old")
    now = datetime.now(UTC)
    old = (now - RETENTION.unfinished).timestamp() - 60
    os.utime(path, (old, old))
    find = expired.find_unreferenced_objects

    def find_and_seal(*arguments: Any, **options: Any) -> set[str]:
        found = find(*arguments, **options)
        path.write_bytes(b"new")
        return found

    monkeypatch.setattr(expired, "find_unreferenced_objects", find_and_seal)
    assert raw_purge.purge_orphans(as_of=now).count == 0
    assert path.read_bytes() == b"new"


def test_batch_that_is_being_loaded_is_left_to_a_later_purge(
    raw_purge: RawPurge, connect: Callable[[], Connection], loaded: int
) -> None:
    raw_purge.pipeline.db.execute("set lock_timeout = '2s'")
    other = connect()
    with other.transaction():
        raw_batches.lock(other, loaded)
        assert raw_purge.purge() == (0, 0)
    assert raw_purge.purge() == (1, 1)


def test_batches_are_purged_in_pages(
    raw_purge: RawPurge, loaded: int, account: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expired, "MAX_BATCHES", 1)
    for number in range(2):
        record = transaction(transaction_id=f"t{number}")
        load_for_all(
            raw_purge.pipeline, raw_purge.pipeline.seal_pages((account, page(added=[record])), run_id=str(number))
        )
    assert raw_purge.purge(dry_run=True) == (3, 3)
    assert raw_purge.purge() == (3, 3)


def test_second_concurrent_purge_is_refused_and_does_nothing(
    raw_purge: RawPurge, connect: Callable[[], Connection], rows: Rows, loaded: int
) -> None:
    with (
        locks.hold(connect(), locks.MAINTENANCE),
        pytest.raises(locks.LockTaken, match="maintenance is under way elsewhere, so nothing was done"),
    ):
        raw_purge.purge()
    assert rows(OBJECTS) == [(1,)]
