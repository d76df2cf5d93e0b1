"""`sluice purge`, and replays of purged batches."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from etl.db import locks
from etl.db.connection import Connection
from tests.integration.cli.conftest import Command
from tests.integration.sync.pipeline import LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def batches(pipeline: Pipeline) -> tuple[int, int]:
    """Return two loaded batches; the first was sealed 500 days ago."""
    (account,) = pipeline.enrol("one")
    first = pipeline.seal_pages((account, page(added=[transaction()])), moves=">a")
    second = pipeline.seal_pages((account, page(modified=[transaction(amount=3)])), moves="a>b", at=LATER)
    for raw_id in (first, second):
        pipeline.load(raw_id)
    pipeline.db.execute(
        "insert into etl.loads select raw_id, 'merchants', 1, 0, 0, 0, 0, 0, 0, 0, 0 from etl.raw_batches"
    )
    pipeline.db.execute(
        "update etl.raw_batches set sealed_at = now() - '500 days'::interval where raw_id = %s", (first,)
    )
    return first, second


def test_a_purge_shows_what_it_would_remove_and_then_removes_it(
    etl: Command, rows: Rows, batches: tuple[int, int]
) -> None:
    result = etl("purge", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "without dry run it would have been 1 raw batches, 1 raw objects (" in result.stdout
    assert rows("select count(purged_at) from etl.raw_batches") == [(0,)]
    document = json.loads(etl("purge", "--dry-run", "--json").stdout)
    assert document["dry_run"] is True
    (objects,) = (each for each in document["results"] if each["label"] == "raw objects")
    assert objects["count"] == 1
    assert objects["size_bytes"] > 0
    assert etl("purge").stdout.startswith("removed 1 raw batches, 1 raw objects (")
    assert etl("purge").stdout == "removed nothing\n"


def test_a_second_purge_reports_that_one_is_under_way(
    etl: Command, connect: Callable[[], Connection], batches: tuple[int, int]
) -> None:
    with locks.hold(connect(), locks.MAINTENANCE):
        result = etl("purge")
    assert result.returncode == 1
    assert "maintenance is under way elsewhere, so nothing was done" in result.stderr


def test_a_replay_skips_purged_batches_and_refuses_one_that_is_named(
    etl: Command, rows: Rows, batches: tuple[int, int]
) -> None:
    first, _ = batches
    etl("purge")
    result = etl("replay", "transactions", "--json")
    assert result.returncode == 0, result.stderr
    assert result.stderr == "transactions: 1 raw batches were purged and are skipped\n"
    assert [len(each["batches"]) for each in json.loads(result.stdout)["entities"]] == [1]
    assert rows("select count(*) from etl.replays") == [(1,)]
    refused = etl("replay", "transactions", "--batch", str(first))
    assert refused.returncode == 1
    assert f"raw batch {first} was purged at " in refused.stderr


def test_a_replay_restores_a_row_as_a_purged_later_batch_left_it(
    etl: Command, rows: Rows, db: Connection, batches: tuple[int, int]
) -> None:
    _, second = batches
    db.execute("update etl.raw_batches set purged_at = now() where raw_id = %s", (second,))
    db.execute("delete from core.transactions")
    assert etl("replay", "transactions").returncode == 0
    assert rows("select amount::int from core.transactions") == [(3,)]
