"""Entities other than transactions: a snapshot, and one that is read from another entity's raw batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.chunking import DayRange
from etl.declare.entity import Entity
from etl.errors import NotBackfillable, TypedMissing
from etl.sync.load import load_pending
from etl.sync.plan import plan
from etl.sync.report import report
from etl.sync.store import chunks, raw_batches
from etl.sync.transform import transform_pending
from tests.integration.sync.pipeline import LATER, PLAID_ONE_RETRY, Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]


def account(**changes: object) -> dict[str, object]:
    balances = {"current": 110.5, "available": None, "limit": None, "iso_currency_code": "USD"}
    return {
        "account_id": "a",
        "name": "Checking",
        "type": "depository",
        "subtype": "checking",
        "balances": balances,
        **changes,
    }


def snapshot(*accounts: dict[str, object]) -> bytes:
    return msgspec.json.encode({"accounts": accounts, "item": {}, "request_id": "r"})


@pytest.fixture
def accounts(scripted_pipeline: Pipeline) -> Pipeline:
    scripted_pipeline.entity = replace(ACCOUNTS, provider=PLAID_ONE_RETRY)
    return scripted_pipeline


def run_merchants(pipeline: Pipeline, run_id: str, entity: Entity = MERCHANTS) -> dict[str, int]:
    for ordinal in plan(entity, run_id, db=pipeline.db):
        transform_pending(entity, run_id, ordinal, db=pipeline.db, root=pipeline.root)
        load_pending(entity, run_id, ordinal, db=pipeline.db, root=pipeline.root)
    return report(entity, run_id, db=pipeline.db)


def counterparty(entity_id: str | None, name: str = "Deli") -> dict[str, object]:
    return {"entity_id": entity_id, "name": name, "type": "merchant", "website": None}


def test_a_snapshot_loads_its_rows_and_a_changed_balance_updates_its_row(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    accounts.enrol("one")
    other_balances = {"current": 111.25, "iso_currency_code": "USD"}
    scripted_bank.script(
        "one",
        snapshot(account(), account(account_id="b")),
        snapshot(account(balances=other_balances), account(account_id="b")),
    )
    (first,) = accounts.run("first")
    (second,) = accounts.run("second")
    assert (first.inserted, second.updated, second.unchanged, second.inserted) == (2, 1, 1, 0)
    assert rows("select account_id, balance_current::float from core.accounts order by 1") == [
        ("a", 111.25),
        ("b", 110.5),
    ]


def test_a_snapshot_without_changes_rewrites_no_row(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    accounts.enrol("one")
    scripted_bank.script("one", snapshot(account()))
    accounts.run("first")
    before = rows("select xmin::text from core.accounts")
    (second,) = accounts.run("second")
    assert (second.unchanged, second.stale) == (1, 0)
    assert rows("select xmin::text from core.accounts") == before


def test_a_snapshot_leaves_no_cursor(accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows) -> None:
    accounts.enrol("one")
    scripted_bank.script("one", snapshot(account()))
    accounts.run("first")
    assert rows("select provider_account_id from etl.cursors") == []


def test_a_snapshot_that_is_loaded_after_a_later_one_changes_nothing(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    accounts.enrol("one")
    other_balances = {"current": 111.25, "iso_currency_code": "USD"}
    scripted_bank.script(
        "one", snapshot(account()), snapshot(account(balances=other_balances), account(account_id="closed"))
    )
    accounts.run("first")
    accounts.plan("late")
    late = accounts.fetch("late")
    scripted_bank.script("one", snapshot(account()))
    accounts.run("next")
    counts = accounts.load(late)
    assert (counts.read, counts.superseded) == (2, 2)
    assert rows("select account_id, balance_current::float from core.accounts") == [("a", 110.5)]


def test_accounts_of_the_sandbox_bank_load(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.entity = ACCOUNTS
    pipeline.link(5)
    (counts,) = pipeline.run("run")
    assert counts.inserted == counts.read >= 5
    assert rows("select count(distinct provider_account_id) from core.accounts") == [(5,)]


def test_a_backfill_of_a_snapshot_is_refused(accounts: Pipeline) -> None:
    from datetime import date

    with pytest.raises(NotBackfillable, match="accounts: only its current state can be read"):
        accounts.plan("backfill", DayRange(date(2026, 11, 1), date(2026, 11, 1)))


def test_merchants_are_loaded_from_raw_batches_of_transactions(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    body = page(
        added=[
            transaction(counterparties=[counterparty("m1"), counterparty(None)]),
            transaction(counterparties=[counterparty("m2", " The  Pub ")]),
        ],
        modified=[transaction(counterparties=[counterparty("m1", "Deli Two")])],
    )
    pipeline.seal_pages((account, body))
    totals = run_merchants(pipeline, "run")
    assert (totals["chunks"], totals["chunks_loaded"], totals["inserted"], totals["superseded"]) == (1, 1, 2, 1)
    assert rows("select entity_id, name, category from core.merchants order by 1") == [
        ("m1", "Deli Two", "FOOD_AND_DRINK"),
        ("m2", "The Pub", "FOOD_AND_DRINK"),
    ]


def test_merchants_are_planned_from_all_raw_batches_without_a_load_so_that_none_is_missed(pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    for number in range(3):
        body = page(added=[transaction(counterparties=[counterparty(f"m{number}")])])
        pipeline.seal_pages((account, body), run_id=f"run {number}")
    assert run_merchants(pipeline, "first")["inserted"] == 3
    assert run_merchants(pipeline, "second")["chunks"] == 0
    assert run_merchants(pipeline, "new version", replace(MERCHANTS, version=MERCHANTS.version + 1))["unchanged"] == 3


def test_an_older_batch_that_is_loaded_later_does_not_rename_a_merchant(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    newer = page(added=[transaction(counterparties=[counterparty("m", "New")])])
    older = page(added=[transaction(counterparties=[counterparty("m", "Old")])])
    pipeline.seal_pages((account, newer), run_id="one", at=LATER)
    run_merchants(pipeline, "first")
    pipeline.seal_pages((account, older), run_id="two")
    assert run_merchants(pipeline, "second")["superseded"] == 1
    assert rows("select name from core.merchants") == [("New",)]


def test_a_raw_batch_that_cannot_be_loaded_does_not_stop_the_others_and_the_first_error_is_raised(
    pipeline: Pipeline, rows: Rows
) -> None:
    (account,) = pipeline.enrol("one")
    raw_ids = [
        pipeline.seal_pages((account, page(added=[transaction(counterparties=[counterparty(f"m{n}")])])), run_id=f"{n}")
        for n in range(3)
    ]
    for raw_id in raw_ids[:2]:
        (pipeline.root / raw_batches.find(pipeline.db, raw_id).path).unlink()
    with pytest.raises(TypedMissing, match=f"raw batch {raw_ids[0]} has no typed batch"):
        run_merchants(pipeline, "run", replace(MERCHANTS, chunk_size=10))
    assert rows("select entity_id from core.merchants") == [("m2",)]


def test_what_another_entity_downloaded_is_never_quarantined(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    parties = [counterparty("good"), *({"entity_id": "m", "name": 7} for _ in range(30))]
    pipeline.seal_pages((account, page(added=[transaction(counterparties=parties)])))
    totals = run_merchants(pipeline, "run")
    assert (totals["inserted"], totals["rejected"], totals["quarantined"]) == (1, 30, 0)
    assert rows("select count(*) from etl.quarantines") == [(0,)]


def test_purged_batches_are_not_pending(pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    for number in range(3):
        body = page(added=[transaction(counterparties=[counterparty(f"m{number}")])])
        pipeline.seal_pages((account, body), run_id=f"run {number}")
    pipeline.db.execute("update etl.raw_batches set purged_at = now() where raw_id = 2")
    sources, version = list(MERCHANTS.sources), MERCHANTS.version
    assert chunks.count_pending_batches(pipeline.db, entity="merchants", sources=sources, version=version) == 2
    one_each = replace(MERCHANTS, chunk_size=1)
    assert plan(one_each, "run", db=pipeline.db) == [0, 1]
    (whole,) = plan(replace(MERCHANTS, chunk_size=9), "whole", db=pipeline.db)
    chunk = chunks.find(pipeline.db, entity="merchants", run_id="whole", ordinal=whole)
    pending = chunks.pending_batches(pipeline.db, chunk, entity="merchants", sources=sources, version=version)
    assert pending == [1, 3]
    assert run_merchants(pipeline, "run", one_each)["inserted"] == 2
