"""The order of loads depends on no worker's clock, on no value that may return, and on no order of arrival."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.sync.merging import merge, stage
from etl.sync.merging.merge import MergeResult
from etl.sync.merging.stage import StagedBatch
from etl.sync.report import report
from etl.sync.store import chunks, cursors, raw_batches
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import TypedBatch
from tests.integration.sync.pipeline import FIRST, LATER, PLAID_ONE_RETRY, Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank
from tests.integration.sync.test_entities import account as bank_account
from tests.integration.sync.test_entities import snapshot
from tests.integration.sync.test_load import load_counts
from tests.integration.sync.test_reprocess import wait_for_a_blocked_session
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
Connect = Callable[[], Connection]
MINUTE, HOUR, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=365)
CURSOR = "select value, generation from etl.cursors"
BALANCES = "select account_id, balance_current::int from core.accounts order by 1"


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


@pytest.fixture
def snapshots(pipeline: Pipeline, account: int) -> Pipeline:
    """Return the steps of accounts, with batches of one login."""
    pipeline.entity = replace(ACCOUNTS, provider=PLAID_ONE_RETRY)
    pipeline.source = "accounts_get"
    return pipeline


def balance(amount: int, account_id: str = "a") -> dict[str, object]:
    return bank_account(account_id=account_id, balances={"current": amount, "iso_currency_code": "USD"})


def seal_balance(
    snapshots: Pipeline,
    amount: int,
    hour: float,
    *,
    opened_at: datetime | None = None,
    sealed_at: datetime | None = None,
) -> int:
    return snapshots.seal_pages(
        (1, snapshot(balance(amount))),
        moves=">",
        at=FIRST + hour * HOUR,
        run_id=f"{amount} {hour}",
        opened_at=opened_at,
        sealed_at=sealed_at,
    )


def test_a_batch_is_stale_if_its_cursor_has_moved_and_returned(pipeline: Pipeline, rows: Rows, account: int) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves=">c3", generation=0))
    assert rows(CURSOR) == [("c3", 1)]
    zombie = pipeline.seal_pages((account, page(modified=[transaction(amount=2)])), moves="c3>c4", generation=1)
    pipeline.load(pipeline.seal_pages((account, page(added=[])), moves="c3>c5", generation=1))
    back = pipeline.seal_pages((account, page(modified=[transaction(amount=3)])), moves="c5>c3", generation=2, at=LATER)
    pipeline.load(back)
    assert rows(CURSOR) == [("c3", 3)]
    assert pipeline.load(zombie) == load_counts(stale=1)
    assert rows("select amount::int from core.transactions") == [(3,)]


def test_a_batch_of_before_there_were_generations_is_fenced_by_the_value(pipeline: Pipeline, account: int) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[])), moves=">c3", generation=0))
    assert pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])), moves="c3>c4")).inserted == 1
    assert pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])), moves="c3>c5")).stale == 1


def test_a_batch_is_stale_if_a_person_has_reset_the_cursor_meanwhile(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[])), moves=">c3", generation=0))
    pipeline.db.execute("update etl.cursors set value = ''")
    assert pipeline.load(
        pipeline.seal_pages((account, page(added=[transaction()])), moves="c3>c4", generation=1)
    ) == load_counts(stale=1)
    assert rows(CURSOR) == [("", 1)]


def test_each_load_that_moves_the_cursor_brings_rows_or_completes_a_full_read_has_its_generation(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    loads = (
        (page(added=[]), ">a", False, 1),
        (page(added=[]), "a>a", False, 1),
        (page(added=[transaction()]), "a>a", False, 2),
        (page(added=[transaction(amount="?")]), "a>a", False, 2),
        (page(added=[]), "a>b", False, 3),
        (page(added=[transaction()]), "b>b", True, 4),
    )
    for body, moves, whole, generation in loads:
        pipeline.load(pipeline.seal_pages((account, body), moves=moves, whole=whole))
        assert rows("select generation from etl.cursors") == [(generation,)]
    cursors.request_full_read(pipeline.db, [account], feeds=["transactions_sync"])
    pipeline.load(pipeline.seal_pages((account, page(added=[])), moves="b>b", whole=True))
    assert rows("select generation, reread from etl.cursors") == [(5, False)]


def test_a_replay_and_a_window_keep_the_generation(pipeline: Pipeline, rows: Rows, account: int) -> None:
    raw_id = pipeline.seal_pages((account, page(added=[transaction()])))
    pipeline.load(raw_id)
    pipeline.replay(raw_id)
    pipeline.source = "transactions_get"
    pipeline.load(pipeline.seal_pages((account, b'{"transactions": [], "total_transactions": 0}'), moves=">"))
    assert rows("select generation from etl.cursors") == [(1,)]


def test_a_download_keeps_the_generation_of_its_cursor_with_each_page(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", page(added=[transaction()], next_cursor="c1"), page(added=[], next_cursor="c2"))
    scripted_pipeline.run("first")
    scripted_pipeline.plan("second")
    raw_id = scripted_pipeline.fetch("second")
    batch = raw_batches.find(scripted_pipeline.db, raw_id)
    assert [header.generation for header, _ in raw_batches.read(scripted_pipeline.root, batch)] == [1]
    scripted_pipeline.db.execute("update etl.cursors set generation = 9")
    scripted_pipeline.load(raw_id)
    assert rows("select outcome from etl.left_out") == [("stale",)]


def test_who_was_stale_in_one_attempt_is_loaded_and_replayed_in_the_next(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    first = pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves="never>a")
    assert pipeline.load(first) == load_counts(stale=1)
    second = pipeline.seal_pages((account, page(added=[transaction(amount=2)])), moves=">b")
    assert rows("select attempt from etl.raw_batches order by raw_id") == [(1,), (2,)]
    assert pipeline.load(second) == load_counts(inserted=1)
    assert pipeline.replay(second) == load_counts(unchanged=1)
    assert pipeline.replay(first) == load_counts(stale=1)


def load_second_while_the_first_is_merged(
    pipeline: Pipeline, first: int, second: int, *, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> LoadCounts:
    """Return the counts of the second batch, whose load has to wait for that of the first."""
    is_merging, may_continue, merge_staged = Event(), Event(), merge.merge_staged

    def wait_in_the_first(
        entity: Entity, typed_batch: TypedBatch, staged_batch: StagedBatch, *, db: Connection
    ) -> MergeResult:
        if typed_batch.raw_batch.raw_id == first:
            is_merging.set()
            may_continue.wait(60)
        return merge_staged(entity, typed_batch, staged_batch, db=db)

    monkeypatch.setattr(merge, "merge_staged", wait_in_the_first)
    with ThreadPoolExecutor() as pool:
        try:
            loads = [pool.submit(pipeline.load, first, db=connect())]
            is_merging.wait(60)
            loads.append(pool.submit(pipeline.load, second, db=connect()))
            wait_for_a_blocked_session(connect())
        finally:
            may_continue.set()
    return loads[1].result()


def test_two_batches_of_one_login_are_never_merged_side_by_side(
    pipeline: Pipeline, rows: Rows, account: int, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[])), moves=">a"))
    first = pipeline.seal_pages((account, page(added=[transaction(transaction_id="one")])), moves="a>b")
    second = pipeline.seal_pages((account, page(added=[transaction(transaction_id="two")])), moves="a>c")
    assert load_second_while_the_first_is_merged(
        pipeline, first, second, connect=connect, monkeypatch=monkeypatch
    ) == load_counts(stale=1)
    assert rows("select transaction_id from core.transactions") == [("one",)]


def test_two_snapshots_of_one_login_are_never_merged_side_by_side(
    snapshots: Pipeline, rows: Rows, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = seal_balance(snapshots, 1, 1), seal_balance(snapshots, 2, 2)
    assert load_second_while_the_first_is_merged(
        snapshots, newer, older, connect=connect, monkeypatch=monkeypatch
    ) == load_counts(superseded=1)
    assert rows(BALANCES) == [("a", 2)]


@pytest.mark.parametrize("skew", [YEAR, -YEAR], ids=["ahead", "behind"])
def test_a_worker_whose_clock_is_wrong_by_a_year_neither_freezes_nor_loses_balances(
    snapshots: Pipeline, rows: Rows, skew: timedelta
) -> None:
    snapshots.load(seal_balance(snapshots, 1, 0))
    opened_at, sealed_at = LATER, LATER + MINUTE
    skewed = snapshots.seal_pages(
        (1, snapshot(balance(2))), moves=">", at=LATER + skew, opened_at=opened_at, sealed_at=sealed_at
    )
    assert snapshots.load(skewed) == load_counts(updated=1)
    assert rows("select observed_at from core.accounts") == [(sealed_at if skew > timedelta() else opened_at,)]
    assert snapshots.replay(skewed) == load_counts(unchanged=1)
    assert snapshots.load(seal_balance(snapshots, 3, 2)) == load_counts(updated=1)
    assert snapshots.replay(skewed) == load_counts(superseded=1)
    assert rows(BALANCES) == [("a", 3)]


def test_a_feed_that_was_read_by_a_wrong_clock_does_not_freeze_its_rows(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    body = page(added=[transaction(amount=1)])
    pipeline.load(pipeline.seal_pages((account, body), at=FIRST + YEAR, opened_at=FIRST, sealed_at=FIRST + MINUTE))
    pipeline.load(pipeline.seal_pages((account, page(modified=[transaction(amount=2)])), moves="a>b", at=LATER))
    assert rows("select amount::int, observed_at from core.transactions") == [(2, LATER)]


def test_a_batch_of_before_its_opening_was_stored_is_bounded_by_its_sealing(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    raw_ids = [
        pipeline.seal_pages(
            (account, page(added=[transaction(transaction_id=f"{skew}")])), moves=moves, at=FIRST + skew
        )
        for skew, moves in ((YEAR, ">a"), (-YEAR, "a>b"))
    ]
    pipeline.db.execute("update etl.raw_batches set opened_at = null, sealed_at = %s", [FIRST])
    pipeline.load(raw_ids[0])
    pipeline.db.execute("update etl.cursors set observed_at = null")
    pipeline.load(raw_ids[1])
    assert rows("select observed_at from core.transactions order by 1") == [(FIRST - YEAR,), (FIRST,)]


def test_an_attempt_and_its_batch_keep_when_they_were_opened_by_the_clock_of_the_warehouse(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", page(added=[transaction()], next_cursor="c1"))
    scripted_pipeline.run("first")
    scripted_pipeline.plan("second")
    scripted_pipeline.download("second")
    first_attempt = rows("select opened_at from etl.chunks where run_id = 'second'")
    scripted_pipeline.fetch("second")
    assert rows("select opened_at from etl.chunks where run_id = 'second'") != first_attempt
    assert (
        rows(
            "select r.opened_at = c.opened_at, r.opened_at < r.sealed_at "
            "from etl.raw_batches as r join etl.chunks as c using (chunk_id)"
        )
        == [(True, True)] * 2
    )
    assert rows(
        "select t.observed_at between r.opened_at and r.sealed_at from core.transactions as t "
        "join etl.raw_batches as r using (raw_id)"
    ) == [(True,)]


def test_an_older_balance_that_is_loaded_later_never_wins_although_the_newer_load_changed_nothing(
    snapshots: Pipeline, rows: Rows
) -> None:
    snapshots.load(seal_balance(snapshots, 100, 0))
    newer = seal_balance(snapshots, 100, 2)
    older = seal_balance(snapshots, 90, 1)
    assert snapshots.load(newer) == load_counts(unchanged=1)
    assert snapshots.load(older) == load_counts(superseded=1)
    assert snapshots.replay(older) == load_counts(superseded=1)
    assert rows(BALANCES) == [("a", 100)]


def test_a_balance_that_was_read_while_another_batch_was_open_never_replaces_a_newer_one(
    snapshots: Pipeline, rows: Rows
) -> None:
    snapshots.load(seal_balance(snapshots, 100, -1))
    older = seal_balance(snapshots, 90, 1)
    newer = seal_balance(snapshots, 100, 2, opened_at=FIRST, sealed_at=FIRST + 3 * HOUR)
    assert snapshots.load(newer) == load_counts(unchanged=1)
    assert snapshots.load(older) == load_counts(superseded=1)
    assert rows(BALANCES) == [("a", 100)]


def test_a_login_that_a_later_snapshot_left_out_is_loaded_from_an_earlier_one(snapshots: Pipeline, rows: Rows) -> None:
    (other,) = snapshots.enrol("two")
    earlier = snapshots.seal_pages(
        (1, snapshot(balance(1))), (other, snapshot(balance(1))), moves=">", run_id="earlier"
    )
    later = snapshots.seal_pages((1, snapshot(balance(2))), moves=">", at=LATER, run_id="later")
    snapshots.db.execute(
        "insert into etl.left_out select chunk_id, attempt, %s, 'refused', 'x' from etl.raw_batches where raw_id = %s",
        [other, later],
    )
    snapshots.load(later)
    assert snapshots.load(earlier) == load_counts(inserted=1, superseded=1)
    assert rows("select balance_current::int from core.accounts order by provider_account_id") == [(2,), (1,)]


def test_a_login_that_an_older_attempt_left_out_is_outdated_by_the_next(snapshots: Pipeline, rows: Rows) -> None:
    snapshots.load(seal_balance(snapshots, 2, -1))
    earlier = seal_balance(snapshots, 1, 0)
    attempts = [snapshots.seal_pages((1, snapshot(balance(2))), moves=">", at=LATER, run_id="later") for _ in range(2)]
    snapshots.db.execute(
        "insert into etl.left_out select chunk_id, attempt, 1, 'refused', 'x' from etl.raw_batches where raw_id = %s",
        [attempts[0]],
    )
    snapshots.load(attempts[1])
    assert snapshots.load(earlier) == load_counts(superseded=1)
    assert rows(BALANCES) == [("a", 2)]


def test_a_later_snapshot_outdates_only_the_logins_of_its_chunk(snapshots: Pipeline, rows: Rows) -> None:
    (other,) = snapshots.enrol("next to it")
    both = [(login, snapshot(balance(1))) for login in (1, other)]
    earlier = snapshots.seal_pages(*both, moves=">", run_id="earlier")
    snapshots.db.execute("update core.provider_accounts set state = 'suspended' where provider_account_id = 2")
    snapshots.load(snapshots.seal_pages((1, snapshot(balance(2))), moves=">", at=LATER, run_id="later"))
    assert rows("select start, stop from etl.chunks order by 1, 2") == [(1, 2), (1, 3)]
    assert snapshots.load(earlier) == load_counts(inserted=1, superseded=1)


def test_the_logins_of_a_snapshot_apply_unless_a_later_one_has_them(snapshots: Pipeline, rows: Rows) -> None:
    snapshots.enrol("two", "three")
    both = [(1, snapshot(balance(1))), (2, snapshot()), (3, snapshot())]
    earlier, current = (snapshots.seal_pages(*both, moves=">", run_id=f"{at}", at=at) for at in (FIRST, LATER + HOUR))
    snapshots.db.execute("update core.provider_accounts set state = 'suspended' where provider_account_id = 3")
    pages = [(1, snapshot(balance(2))), (2, snapshot(balance(2)))]
    snapshots.load(snapshots.seal_pages(*pages, moves=">", at=LATER, run_id="later"))

    def logins_that_apply(raw_id: int, stage: Callable[..., object]) -> list[tuple[object, ...]]:
        typed = TypedBatch(snapshots.root, snapshots.entity, raw_batches.find(snapshots.db, raw_id))
        with snapshots.db.transaction(force_rollback=True):
            stage(snapshots.entity, typed, db=snapshots.db)
            return rows("select provider_account_id from incoming_cursors order by 1")

    stage_loaded = partial(stage.stage_loaded, is_complete=True)
    assert logins_that_apply(earlier, stage.stage_first_load) == [(3,)]
    assert logins_that_apply(current, stage.stage_first_load) == [(1,), (2,), (3,)]
    snapshots.load(earlier)
    snapshots.load(current)
    assert logins_that_apply(earlier, stage_loaded) == []
    assert logins_that_apply(current, stage_loaded) == [(1,), (2,), (3,)]


def test_a_replay_of_an_older_snapshot_restores_lost_rows_in_their_current_state(
    snapshots: Pipeline, rows: Rows
) -> None:
    both = snapshot(balance(1, "a"), balance(1, "b"))
    first = snapshots.seal_pages((1, both), moves=">", run_id="first")
    snapshots.load(first)
    snapshots.load(snapshots.seal_pages((1, snapshot(balance(2, "a"))), moves=">", at=LATER, run_id="second"))
    snapshots.db.execute("delete from core.accounts")
    snapshots.replay(first)
    assert rows(BALANCES) == [("a", 2), ("b", 1)]


def test_an_older_attempt_does_not_count_as_loaded_and_does_not_close_the_chunk(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()]))))
    name = pipeline.entity.name
    assert report(pipeline.entity, "by hand", db=pipeline.db)["chunks_loaded"] == 1
    zombie = chunks.find(pipeline.db, entity=name, run_id="by hand", ordinal=0)
    latest = chunks.open_attempt(pipeline.db, entity=name, run_id="by hand", ordinal=0)
    assert (zombie.attempt, latest.attempt) == (1, 2)
    assert report(pipeline.entity, "by hand", db=pipeline.db)["chunks_loaded"] == 0
    with chunks.closing_attempt(pipeline.db, zombie, {"drained": 1}):
        pass
    assert rows("select outcome from etl.chunks") == [(None,)]
    with chunks.closing_attempt(pipeline.db, latest, {"refused": 1}):
        pass
    assert rows("select outcome from etl.chunks") == [({"refused": 1},)]
