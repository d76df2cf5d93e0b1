"""What maintenance gives up of raw batches, and what it must never give up."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.retention import RETENTION
from etl.db import locks
from etl.db.connection import Connection
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
from tests.integration.sync.pipeline import Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OBJECTS = "select count(*) from etl.raw_batches where purged_at is null"


@pytest.fixture
def upkeep(pipeline: Pipeline) -> RawPurge:
    return RawPurge(pipeline)


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


@pytest.fixture
def loaded(pipeline: Pipeline, account: int) -> int:
    """Return a raw batch that all who read it have loaded."""
    raw_id = pipeline.seal_pages((account, page(added=[transaction()])))
    load_for_all(pipeline, raw_id)
    return raw_id


def test_a_loaded_batch_goes_once_and_its_rows_stay(upkeep: RawPurge, rows: Rows, loaded: int) -> None:
    assert upkeep.purge() == (1, 1)
    assert upkeep.objects == []
    assert upkeep.purge() == (0, 0)
    assert rows("select raw_id, purged_at is null from etl.raw_batches") == [(loaded, False)]
    assert rows("select raw_id from core.transactions") == [(loaded,)]


def test_a_batch_within_its_retention_stays(upkeep: RawPurge, loaded: int) -> None:
    pipeline = upkeep.pipeline
    soon = datetime.now(UTC) + RETENTION.raw_batches - timedelta(hours=1)
    removed = purge_raw(RETENTION, ENTITIES, db=pipeline.db, root=pipeline.root, as_of=soon, dry_run=False)
    assert [each.count for each in removed] == [0, 0]
    assert len(upkeep.objects) == 1


def test_a_batch_that_nobody_loaded_is_never_purged(upkeep: RawPurge, account: int) -> None:
    upkeep.pipeline.seal_pages((account, page(added=[transaction()])))
    assert upkeep.purge() == (0, 0)
    assert len(upkeep.objects) == 1


def test_a_batch_waits_for_everyone_who_reads_its_source(
    upkeep: RawPurge, account: int, caplog: pytest.LogCaptureFixture
) -> None:
    raw_id = upkeep.pipeline.seal_pages((account, page(added=[transaction()])))
    upkeep.pipeline.load(raw_id)
    assert upkeep.purge() == (0, 0)
    assert "1 raw batches sealed before" in caplog.text
    load_for_all(upkeep.pipeline, raw_id)
    assert upkeep.purge() == (1, 1)


def test_a_batch_whose_source_nobody_reads_any_more_must_have_been_loaded(
    upkeep: RawPurge, rows: Rows, loaded: int
) -> None:
    db = upkeep.pipeline.db
    db.execute("update etl.raw_batches set source = 'retired'")
    kept = rows("select * from etl.loads order by entity")
    db.execute("delete from etl.loads")
    assert upkeep.purge() == (0, 0)
    raw_id, *counts = kept[0]
    marks = ", ".join(["%s"] * len(kept[0]))
    db.execute(f"insert into etl.loads values ({marks})".encode(), [raw_id, *counts])
    assert upkeep.purge() == (1, 1)


def test_a_new_version_keeps_nothing_longer_and_asks_for_nothing_that_is_gone(upkeep: RawPurge, loaded: int) -> None:
    pipeline = upkeep.pipeline
    newer = replace(MERCHANTS, version=2)
    assert plan(newer, "before", db=pipeline.db) == [0]
    assert upkeep.purge() == (1, 1)
    assert plan(newer, "after", db=pipeline.db) == []


def test_what_is_wrong_with_a_declaration_stops_the_purge(upkeep: RawPurge, loaded: int) -> None:
    pipeline = upkeep.pipeline
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
    assert len(upkeep.objects) == 1


def test_a_dry_run_tells_the_same_and_removes_nothing(upkeep: RawPurge, rows: Rows, loaded: int) -> None:
    size = upkeep.objects[0].stat().st_size
    told = purge_raw(RETENTION, ENTITIES, as_of=AFTER_RETENTION, dry_run=True, **upkeep.store_arguments)
    assert told == [PurgeResult("raw batches", 1), PurgeResult("raw objects", 1, size)]
    assert rows(OBJECTS) == [(1,)]
    assert purge_raw(RETENTION, ENTITIES, as_of=AFTER_RETENTION, dry_run=False, **upkeep.store_arguments) == told


def test_replay_of_a_purged_batch_says_that_and_when_it_was_purged(upkeep: RawPurge, loaded: int) -> None:
    upkeep.purge()
    with pytest.raises(RawPurged, match=rf"raw batch {loaded} was purged at {datetime.now(UTC):%Y-%m-%d}"):
        upkeep.pipeline.replay(loaded)


def test_an_object_goes_only_with_the_last_batch_that_names_it(upkeep: RawPurge, account: int) -> None:
    pipeline = upkeep.pipeline
    first, second = pipeline.seal_pages(run_id="one"), pipeline.seal_pages(run_id="two")
    assert len(upkeep.objects) == 1
    load_for_all(pipeline, first)
    assert upkeep.purge(dry_run=True) == (1, 0)
    assert upkeep.purge() == (1, 0)
    assert list(raw_batches.read(pipeline.root, raw_batches.find(pipeline.db, second))) == []
    load_for_all(pipeline, second)
    assert upkeep.purge() == (1, 1)
    assert upkeep.objects == []


def test_what_dies_between_row_and_object_leaves_an_orphan_that_is_found(
    upkeep: RawPurge, loaded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(listing, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            upkeep.purge()
    assert len(upkeep.objects) == 1
    assert upkeep.purge() == (0, 0)
    size = upkeep.objects[0].stat().st_size
    assert upkeep.purge_orphans(dry_run=True) == PurgeResult("orphaned objects", 1, size)
    assert upkeep.purge_orphans() == PurgeResult("orphaned objects", 1, size)
    assert upkeep.objects == []


def test_an_object_that_a_batch_names_is_no_orphan(upkeep: RawPurge, account: int) -> None:
    upkeep.pipeline.seal_pages((account, page(added=[transaction()])))
    assert upkeep.purge_orphans().count == 0
    assert len(upkeep.objects) == 1


def test_an_object_that_may_still_be_sealed_is_no_orphan(upkeep: RawPurge, loaded: int) -> None:
    path = upkeep.objects[0].with_name("0" * 64 + ".zst")
    path.write_bytes(b"")
    now = datetime.now(UTC)
    assert upkeep.purge_orphans(as_of=now).count == 0
    old = (now - RETENTION.unfinished).timestamp() - 60
    os.utime(path, (old, old))
    assert upkeep.purge_orphans(as_of=now).count == 1
    assert path not in upkeep.objects


def test_sealing_waits_while_its_object_is_being_purged(
    upkeep: RawPurge, connect: Callable[[], Connection], account: int
) -> None:
    other = connect()
    other.execute("set lock_timeout = 200")
    first = upkeep.pipeline.seal_pages(run_id="one")
    path = raw_batches.find(other, first).path
    with upkeep.pipeline.db.transaction():
        raw_batches.lock_object(upkeep.pipeline.db, path)
        with pytest.raises(Exception, match="lock timeout"):
            raw_batches.seal(other, upkeep.pipeline.root, [], source="transactions_sync", chunk_id=1, attempt=9)


def test_a_batch_that_is_being_loaded_is_left_for_the_next_time(
    upkeep: RawPurge, connect: Callable[[], Connection], loaded: int
) -> None:
    other = connect()
    with other.transaction():
        raw_batches.lock(other, loaded)
        assert upkeep.purge() == (0, 0)
    assert upkeep.purge() == (1, 1)


def test_batches_go_a_page_at_a_time(
    upkeep: RawPurge, loaded: int, account: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expired, "MAX_BATCHES", 1)
    for number in range(2):
        again = transaction(transaction_id=f"t{number}")
        load_for_all(upkeep.pipeline, upkeep.pipeline.seal_pages((account, page(added=[again])), run_id=str(number)))
    assert upkeep.purge(dry_run=True) == (3, 3)
    assert upkeep.purge() == (3, 3)


def test_the_second_of_two_at_once_says_so_and_does_nothing(
    upkeep: RawPurge, connect: Callable[[], Connection], rows: Rows, loaded: int
) -> None:
    with (
        locks.hold(connect(), locks.MAINTENANCE),
        pytest.raises(locks.LockTaken, match="maintenance is under way elsewhere, so nothing was done"),
    ):
        upkeep.purge()
    assert rows(OBJECTS) == [(1,)]
