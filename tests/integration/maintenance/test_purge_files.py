"""Purge of typed batches, landing pages and drafts below the raw root."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.retention import RETENTION
from etl.db.connection import Connection
from etl.errors import LandingMissing
from etl.maintenance.purge_storage import purge_typed, purge_unfinished
from etl.storage import listing, objects
from etl.sync.records.frames import Header
from etl.sync.store import chunks, unfinished_downloads
from etl.sync.store.landing import Landing
from etl.sync.store.unfinished_downloads import UnfinishedDownload
from tests.integration.sync.pipeline import FIRST, Pipeline
from tests.unit.sync.samples import page, transaction

LONG_AFTER = datetime.now(UTC) + timedelta(days=1_000)
Rows = Callable[..., list[tuple[object, ...]]]


def files(root: UPath, folder: str) -> list[str]:
    """Return the names of the files below a folder of a volume."""
    return sorted(path.name for path in Path(root.path, folder).rglob("*") if path.is_file())


def purge_and_count(db: Connection, root: UPath, step: Callable[..., Any], **options: Any) -> list[int]:
    """Run a purge, by default past every retention, and return the counts of what it removed."""
    arguments = {"as_of": LONG_AFTER, "dry_run": False, **options}
    return [removed.count for removed in step(RETENTION, db=db, root=root, **arguments)]


@pytest.fixture
def typed_id(pipeline: Pipeline) -> int:
    """Return the id of a raw batch that is transformed and not loaded."""
    (account,) = pipeline.enrol("one")
    return pipeline.seal_pages((account, page(added=[transaction()])))


def test_typed_batch_is_removed_once_loaded_and_can_be_rebuilt(pipeline: Pipeline, typed_id: int) -> None:
    pipeline.load(typed_id)
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed, dry_run=True) == [1]
    assert files(pipeline.root, "typed") == ["cursors.arrow", "rows.arrow"]
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed) == [1]
    assert files(pipeline.root, "typed") == []
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed) == [0]
    assert pipeline.replay(typed_id).unchanged == 1


def test_a_typed_batch_that_is_not_loaded_stays(pipeline: Pipeline, typed_id: int) -> None:
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed) == [0]
    assert pipeline.load(typed_id).inserted == 1


def test_a_typed_batch_of_a_version_that_is_not_loaded_yet_stays(pipeline: Pipeline, typed_id: int) -> None:
    pipeline.load(typed_id)
    pipeline.entity = replace(pipeline.entity, version=pipeline.entity.version + 1)
    pipeline.transform(typed_id)
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed) == [1]
    assert pipeline.load(typed_id).unchanged == 1


def test_a_typed_batch_within_its_retention_stays(pipeline: Pipeline, typed_id: int) -> None:
    pipeline.load(typed_id)
    soon = datetime.now(UTC) + RETENTION.typed_batches - timedelta(hours=1)
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed, as_of=soon) == [0]


def test_typed_batch_of_a_purged_raw_batch_is_removed(pipeline: Pipeline, typed_id: int) -> None:
    pipeline.db.execute("update etl.raw_batches set purged_at = now()")
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed) == [1]


def test_folder_left_empty_is_removed_by_a_later_purge(pipeline: Pipeline, typed_id: int) -> None:
    pipeline.load(typed_id)
    (batch,) = Path(pipeline.root.path, "typed", TRANSACTIONS.name).glob("*/*")
    as_of = datetime.now(UTC) + timedelta(minutes=1)
    for path in batch.iterdir():
        path.unlink()
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed, as_of=as_of) == [0]
    assert batch.exists()
    assert purge_and_count(pipeline.db, pipeline.root, purge_typed) == [0]
    assert not batch.exists()


def header(page_number: int = 0) -> Header:
    return Header(
        provider_account_id=1,
        page=page_number,
        path="/",
        request={},
        cursor_from="a" if page_number else "",
        cursor_to="a",
        received_at=FIRST,
        size=2,
    )


def test_old_pages_of_unsealed_attempts_are_removed_and_recent_ones_stay(db: Connection, root: UPath) -> None:
    landings = [Landing(root, chunk_id, 1) for chunk_id in (1, 2)]
    for landing in landings:
        with landing.manifest() as manifest:
            pages = landing.account_pages(1)
            pages.add(header(), b"{}")
            manifest.add(pages.finish())
    old = (datetime.now(UTC) - RETENTION.unfinished).timestamp() - 60
    for path in [*Path(landings[0].folder.path).rglob("*")][::-1]:
        os.utime(path, (old, old))
    now = datetime.now(UTC)
    assert purge_and_count(db, root, purge_unfinished, as_of=now, dry_run=True) == [2, 0]
    assert purge_and_count(db, root, purge_unfinished, as_of=now) == [2, 0]
    with pytest.raises(LandingMissing):
        list(landings[0].read())
    assert [body for _, body in landings[1].read()] == [b"{}"]
    assert purge_and_count(db, root, purge_unfinished, as_of=now) == [0, 0]


def keep_pages(pipeline: Pipeline, *, pages: int) -> Landing:
    """Land pages of a login, keep them for its next download, and make their files old; return the landing."""
    (account,) = pipeline.enrol("one")
    pipeline.plan("run")
    chunk = chunks.open_attempt(pipeline.db, entity="transactions", run_id="run", ordinal=0)
    landing = Landing(pipeline.root, chunk.chunk_id, chunk.attempt)
    kept = landing.account_pages(account)
    for number in range(pages):
        kept.add(header(number), b"{}")
    own = UnfinishedDownload(account, 1, 1, 0, pages, kept.size, kept.digest, "a", is_full_read=False)
    unfinished_downloads.save(pipeline.db, own, feed="transactions_sync")
    stranger = landing.account_pages(account + 1)
    stranger.add(header(), b"{}")
    old = (datetime.now(UTC) - RETENTION.unfinished).timestamp() - 60
    for path in [*Path(pipeline.root.path).rglob("*")][::-1]:
        os.utime(path, (old, old))
    return landing


def test_pages_that_a_download_continues_from_stay_and_all_others_go(pipeline: Pipeline, rows: Rows) -> None:
    landing = keep_pages(pipeline, pages=3)
    now = datetime.now(UTC)
    assert purge_and_count(pipeline.db, pipeline.root, purge_unfinished, as_of=now, dry_run=True) == [1, 0]
    assert purge_and_count(pipeline.db, pipeline.root, purge_unfinished, as_of=now) == [1, 0]
    assert files(pipeline.root, "landing") == ["000000", "000001", "000002"]
    assert landing.account_pages(1).adopt(landing, 3, cursor_from="", is_full_read=False) == {"", "a"}


@pytest.mark.parametrize(
    ("change", "days"),
    [
        ("insert into etl.cursors (provider_account_id, feed, generation) values (1, 'transactions_sync', 1)", 0),
        ("update etl.unfinished_downloads set attempt = 2", 0),
        ("delete from etl.unfinished_downloads", 0),
        ("update etl.unfinished_downloads set saved_at = now()", 31),
    ],
    ids=["their cursor has moved", "a later attempt has them", "they were loaded", "nobody continues them"],
)
def test_pages_that_no_download_can_continue_from_are_removed(
    pipeline: Pipeline, rows: Rows, change: str, days: int
) -> None:
    keep_pages(pipeline, pages=3)
    rows(f"{change} returning 1")
    as_of = datetime.now(UTC) + timedelta(days=days)
    assert purge_and_count(pipeline.db, pipeline.root, purge_unfinished, as_of=as_of, dry_run=True) == [4, 0]
    assert purge_and_count(pipeline.db, pipeline.root, purge_unfinished, as_of=as_of) == [4, 0]
    assert files(pipeline.root, "landing") == []


def test_an_interruption_that_nobody_tries_again_is_forgotten(db: Connection, root: UPath, rows: Rows) -> None:
    rows("insert into etl.interruptions (step, subject_id, entity, deaths) values ('download', 1, 'e', 1) returning 1")
    purge_and_count(db, root, purge_unfinished, as_of=datetime.now(UTC))
    assert rows("select deaths from etl.interruptions") == [(1,)]
    purge_and_count(db, root, purge_unfinished)
    assert rows("select deaths from etl.interruptions") == []


def test_draft_of_a_killed_process_is_removed(db: Connection, root: UPath) -> None:
    with objects.draft(root) as draft:
        draft.stream.write(b"half")
        draft.stream.flush()
        assert purge_and_count(db, root, purge_unfinished, as_of=datetime.now(UTC)) == [0, 0]
        assert purge_and_count(db, root, purge_unfinished) == [0, 1]


def test_object_rewritten_since_the_listing_stays(root: UPath) -> None:
    path = Path(root.path, "object")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"new")
    assert listing.remove(root / "object", older_than=datetime.now(UTC) - timedelta(hours=1)) is None
    assert path.exists()


def test_object_store_is_listed_like_a_volume(db: Connection, tmp_path: Path) -> None:
    root = UPath(f"memory://{tmp_path.name}/raw")
    landing = Landing(root, 1, 1)
    pages = landing.account_pages(1)
    pages.add(header(), b"{}")
    pages.add(header(1), b"{}")
    assert purge_and_count(db, root, purge_unfinished, as_of=datetime.now(UTC)) == [0, 0]
    assert purge_and_count(db, root, purge_unfinished) == [2, 0]
    assert list(listing.written_before(root, LONG_AFTER)) == []


def test_empty_root_is_no_error(db: Connection, root: UPath, tmp_path: Path) -> None:
    for empty in (root, UPath(f"memory://{tmp_path.name}/empty")):
        assert purge_and_count(db, empty, purge_unfinished) == [0, 0]
        assert purge_and_count(db, empty, purge_typed) == [0]


def test_memory_does_not_grow_with_the_number_of_objects(root: UPath) -> None:
    folder = Path(root.path, "landing", "1", "1")
    folder.mkdir(parents=True)

    for number in range(10_000):
        (folder / str(number)).touch()
    tracemalloc.start()
    try:
        assert sum(1 for _ in listing.written_before(root / "landing", LONG_AFTER)) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
