"""Rejects are judged when their batch is loaded: only then it is known which batch brought the records of a login."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.db.connection import Connection
from etl.sync.store import rejects
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.integration.sync.test_endings import BAD_POSTED, ENDS, HOLD, OUTDATED, REMOVED_HOLD, at, load_in_turn
from tests.integration.sync.test_entities import account as account_record
from tests.integration.sync.test_entities import snapshot
from tests.integration.sync.test_quarantine import records
from tests.integration.sync.test_reprocess import wait_for_a_blocked_session
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
Connect = Callable[[], Connection]
REJECTS = "select record_id, raw_id, closed_at is null from etl.rejects order by record_id, raw_id"
BAD = transaction(transaction_id="t", iso_currency_code="???")
GOOD = transaction(transaction_id="t")


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


def seal_twice(pipeline: Pipeline, account: int, first: bytes, second: bytes, **options: object) -> list[int]:
    """Seal and transform two batches that were read from the same cursor; return their ids."""
    moves, generation = str(options.get("moves", ">a")), int(str(options.get("generation", 0)))
    return [
        pipeline.seal_pages((account, body), run_id=f"twice {at}", moves=moves, generation=generation, at=at)
        for body, at in ((first, FIRST), (second, LATER))
    ]


def accept_everything(pipeline: Pipeline) -> None:
    """Declare the next version of the entity, which has no checks."""
    pipeline.entity = replace(pipeline.entity, checks=(), version=pipeline.entity.version + 1)


def retry(pipeline: Pipeline) -> None:
    """Replay the batches with open rejects, as `sluice rejects retry` does."""
    for raw_id in rejects.replayable_batches(pipeline.db, entity=pipeline.entity.name, raw_id=None):
        pipeline.replay(raw_id)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first is loaded", "second is loaded"])
def test_a_retry_loads_a_record_that_was_rejected_in_the_loaded_batch_and_in_a_stale_one(
    pipeline: Pipeline, rows: Rows, account: int, order: tuple[int, int]
) -> None:
    batches = seal_twice(pipeline, account, page(added=[BAD]), page(added=[BAD]))
    loaded, stale = (batches[each] for each in order)
    assert pipeline.load(loaded).rejected == 1
    pipeline.load(stale)
    assert rows(REJECTS) == [("t", loaded, True)]
    pipeline.replay(stale)
    assert rows(REJECTS) == [("t", loaded, True)]
    accept_everything(pipeline)
    retry(pipeline)
    assert rows("select transaction_id from core.transactions") == [("t",)]
    assert rows(REJECTS) == [("t", loaded, False)]


def test_a_row_whose_correction_was_rejected_is_out_of_date_although_a_stale_batch_has_the_correction_too(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[GOOD])), generation=0))
    bad = page(modified=[BAD])
    for raw_id in seal_twice(pipeline, account, bad, bad, moves="a>b", generation=1):
        pipeline.load(raw_id)
    assert rows(OUTDATED) == [("t", FIRST)]


def test_a_stale_batch_leaves_no_reject_of_a_record_that_the_loaded_batch_brought(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    for raw_id in seal_twice(pipeline, account, page(added=[GOOD]), page(added=[BAD])):
        pipeline.load(raw_id)
    assert rows(REJECTS) == []


def test_a_reject_of_a_stale_batch_holds_no_pending_row(pipeline: Pipeline, rows: Rows, account: int) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[HOLD])), generation=0))
    removal = page(removed=[REMOVED_HOLD])
    _, stale = seal_twice(pipeline, account, removal, page(added=[BAD_POSTED]), moves="a>b", generation=1)
    pipeline.load(stale - 1)
    pipeline.load(stale)
    assert rows(ENDS) == [("hold", "withdrawn")]


def test_a_quarantined_batch_that_another_overtook_closes_its_rejects_when_it_is_replayed(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    quarantined, other = seal_twice(pipeline, account, page(added=records(30, 10)), page(added=[GOOD]))
    pipeline.load(quarantined)
    assert rows("select count(*) from etl.rejects where closed_at is null") == [(30,)]
    pipeline.load(other)
    accept_everything(pipeline)
    pipeline.replay(quarantined)
    assert rows("select count(*) from etl.rejects where closed_at is null") == [(0,)]


def test_a_transformation_alone_changes_no_reject(pipeline: Pipeline, rows: Rows, account: int) -> None:
    raw_id = pipeline.seal_pages((account, page(added=[BAD])))
    assert rows(REJECTS) == []
    pipeline.load(raw_id)
    before = rows("select * from etl.rejects")
    accept_everything(pipeline)
    pipeline.transform(raw_id)
    assert rows("select * from etl.rejects") == before


def test_a_reject_of_a_later_batch_stays_open_until_its_own_record_is_merged(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    first, second = load_in_turn(pipeline, account, page(added=[{**BAD, "transaction_id": "u"}]), page(added=[BAD]))
    accept_everything(pipeline)
    pipeline.replay(first)
    assert rows(REJECTS) == [("t", second, True), ("u", first, False)]
    retry(pipeline)
    assert rows("select transaction_id from core.transactions order by 1") == [("t",), ("u",)]
    assert rows("select count(*) from etl.rejects where closed_at is null") == [(0,)]


def test_a_snapshot_that_is_older_than_a_loaded_one_leaves_no_reject(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    accounts = replace(pipeline, entity=ACCOUNTS, source="accounts_get")
    wrong = snapshot(account_record(balances={"current": 1, "iso_currency_code": "???"}))
    late = accounts.seal_pages((account, wrong), moves=">", at=at(1), run_id="1")
    accounts.load(accounts.seal_pages((account, snapshot(account_record())), moves=">", at=at(2), run_id="2"))
    accounts.load(late)
    assert rows(REJECTS) == []


@pytest.mark.parametrize(("hour", "expected"), [(0, 0), (2, 1)], ids=["older than the feed", "newer"])
def test_a_window_leaves_rejects_unless_the_feed_was_read_later(
    pipeline: Pipeline, rows: Rows, account: int, hour: int, expected: int
) -> None:
    load_in_turn(pipeline, account, page(added=[GOOD]), page(added=[transaction(transaction_id="other")]))
    pipeline.source = "transactions_get"
    body = msgspec.json.encode({"transactions": [BAD], "total_transactions": 1})
    pipeline.load(pipeline.seal_pages((account, body), moves=">", at=at(hour), run_id="backfill"))
    assert len(rows(REJECTS)) == expected


def test_concurrent_loads_of_a_batch_record_its_rejects_once(
    pipeline: Pipeline, rows: Rows, account: int, connect: Connect
) -> None:
    raw_id = pipeline.seal_pages((account, page(added=records(5, 0))))
    with ThreadPoolExecutor() as pool, pipeline.db.transaction():
        pipeline.load(raw_id)
        other = pool.submit(pipeline.load, raw_id, db=connect())
        wait_for_a_blocked_session(connect())
    other.result()
    assert rows("select count(*), max(failures) from etl.rejects") == [(5, 1)]
