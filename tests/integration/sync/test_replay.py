"""Replaying a batch: rows are rebuilt from its raw pages, and later changes are not undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from etl.db.tables.layout import TOMBSTONE_COLUMN
from etl.declare.entity import Entity
from etl.sync.replay import start_dry_run
from etl.sync.store import before_image
from etl.sync.store.before_image import MoneyTotal
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.integration.sync.test_load import KEY, load_counts
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
LAST = LATER + timedelta(hours=1)
ROWS = "select transaction_id, amount::int, removed_at, observed_at, raw_id from core.transactions order by 1"
CURSORS = "select * from etl.cursors order by provider_account_id"


def versioned(entity: Entity, **paths: str) -> Entity:
    """Return the next version of an entity, with the paths of some columns changed."""
    columns = [replace(column, path=paths.get(column.name, column.path)) for column in entity.columns]
    return replace(entity, columns=tuple(columns), version=entity.version + 1)


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


def test_replaying_a_batch_changes_no_row_and_no_cursor(pipeline: Pipeline, rows: Rows, account: int) -> None:
    raw_id = pipeline.seal_pages((account, page(added=[transaction(), transaction(transaction_id="other")])))
    pipeline.load(raw_id)
    before = rows(ROWS), rows(CURSORS)
    assert pipeline.replay(raw_id) == load_counts(unchanged=2)
    assert (rows(ROWS), rows(CURSORS)) == before
    assert rows("select raw_id, read, unchanged from etl.replays") == [(raw_id, 2, 2)]


def test_a_replay_never_undoes_later_batches(pipeline: Pipeline, rows: Rows, account: int) -> None:
    gone = transaction(transaction_id="gone")
    first = pipeline.seal_pages((account, page(added=[transaction(amount=1), gone])), moves=">a")
    pipeline.load(first)
    pipeline.load(pipeline.seal_pages((account, page(modified=[transaction(amount=2)])), moves="a>b", at=LATER))
    removal = page(removed=[{**KEY, "transaction_id": "gone"}])
    pipeline.load(pipeline.seal_pages((account, removal), moves="b>c", at=LAST))
    before = rows(ROWS)
    assert pipeline.replay(first) == load_counts(superseded=2)
    assert rows(ROWS) == before


def test_a_replay_applies_a_fixed_declaration_to_the_rows(pipeline: Pipeline, rows: Rows, account: int) -> None:
    first = pipeline.seal_pages((account, page(added=[transaction(name="n1", merchant_name="m1")])), moves=">a")
    pipeline.load(first)
    same = transaction(name="n1", merchant_name="m2")
    second = pipeline.seal_pages((account, page(modified=[same])), moves="a>b", at=LATER)
    pipeline.load(second)
    pipeline.entity = versioned(pipeline.entity, description="merchant_name")
    assert pipeline.replay(first) == load_counts(superseded=1)
    assert pipeline.replay(second) == load_counts(updated=1)
    assert rows("select description from core.transactions") == [("m2",)]
    assert rows("select version, count(*) from etl.loads group by 1 order by 1") == [
        (pipeline.entity.version - 1, 2),
        (pipeline.entity.version, 2),
    ]


def test_a_lost_row_is_restored_in_its_current_state(pipeline: Pipeline, rows: Rows, account: int) -> None:
    gone = transaction(transaction_id="gone")
    first = pipeline.seal_pages((account, page(added=[transaction(amount=1), gone])), moves=">a")
    pipeline.load(first)
    body = page(modified=[transaction(amount=2)], added=[transaction(transaction_id="other")])
    pipeline.load(pipeline.seal_pages((account, body), moves="a>b", at=LATER))
    removal = page(removed=[{**KEY, "transaction_id": "gone"}])
    pipeline.load(pipeline.seal_pages((account, removal), moves="b>c", at=LAST))
    pipeline.db.execute("update core.transactions set amount = 99 where transaction_id = 'other'")
    before = rows(ROWS), rows(CURSORS)
    pipeline.db.execute("delete from core.transactions where transaction_id <> 'other'")
    assert pipeline.replay(first) == load_counts(inserted=2)
    assert (rows(ROWS), rows(CURSORS)) == before


def test_a_reject_that_is_valid_now_is_restored_with_its_later_removal(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    declared = pipeline.entity
    pipeline.entity = versioned(declared, pending="no_such_field")
    first = pipeline.seal_pages((account, page(added=[transaction()])), moves=">a")
    assert pipeline.load(first) == load_counts(rejected=1)
    removal = pipeline.seal_pages((account, page(removed=[KEY])), moves="a>b", at=LATER)
    assert pipeline.load(removal) == load_counts(unchanged=1)
    pipeline.entity = replace(declared, version=declared.version + 2)
    assert pipeline.replay(first) == load_counts(inserted=1)
    assert rows(f"select {TOMBSTONE_COLUMN} from core.transactions") == [(LATER,)]


def test_a_reject_that_passes_in_the_same_version_since_sluice_was_mended_is_closed(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    declared = pipeline.entity
    pipeline.entity = replace(versioned(declared, pending="no_such_field"), version=declared.version)
    first = pipeline.seal_pages((account, page(added=[transaction()])), moves=">a")
    assert pipeline.load(first) == load_counts(rejected=1)
    pipeline.entity = declared
    assert pipeline.replay(first) == load_counts(inserted=1)
    assert rows("select count(*) from etl.rejects where closed_at is null") == [(0,)]


def test_stale_records_are_stale_in_a_replay_too(pipeline: Pipeline, rows: Rows, account: int) -> None:
    winner = pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves=">a")
    loser = pipeline.seal_pages((account, page(added=[transaction(amount=2)])), moves=">b", at=LATER)
    pipeline.load(winner)
    assert pipeline.load(loser) == load_counts(stale=1)
    assert pipeline.replay(loser) == load_counts(stale=1)
    assert rows("select amount::int from core.transactions") == [(1,)]


def test_a_replay_uses_the_clamped_timestamps_of_the_first_load(pipeline: Pipeline, rows: Rows, account: int) -> None:
    first = pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves=">a", at=LATER)
    second = pipeline.seal_pages((account, page(modified=[transaction(amount=2)])), moves="a>b", at=FIRST)
    for raw_id in (first, second):
        pipeline.load(raw_id)
    assert [pipeline.replay(raw_id) for raw_id in (first, second)] == [
        load_counts(superseded=1),
        load_counts(unchanged=1),
    ]
    assert rows("select amount::int from core.transactions") == [(2,)]
    pipeline.db.execute("delete from core.transactions")
    pipeline.replay(first)
    assert rows("select amount::int from core.transactions") == [(2,)]


def test_a_feed_batch_that_was_never_loaded_is_loaded_with_its_cursor(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    raw_id = pipeline.seal_pages((account, page(added=[transaction()])), moves=">a")
    assert pipeline.replay(raw_id) == load_counts(inserted=1)
    assert rows("select value from etl.cursors") == [("a",)]
    assert pipeline.load(raw_id) == load_counts(inserted=1)


def test_a_late_window_does_not_overwrite_later_records_of_the_feed(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves=">a"))
    pipeline.source = "transactions_get"
    body = msgspec.json.encode({"transactions": [transaction(amount=2)], "total_transactions": 1})
    window = pipeline.seal_pages((account, body), moves=">", at=LATER)
    pipeline.source = "transactions_sync"
    back = pipeline.seal_pages((account, page(modified=[transaction(amount=1)])), moves="a>b", at=LAST)
    assert pipeline.load(back) == load_counts(unchanged=1)
    assert pipeline.load(window) == load_counts(superseded=1)
    assert rows("select amount::int from core.transactions") == [(1,)]


def test_a_replay_that_rejects_all_records_of_a_loaded_login_changes_no_row(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    records = [transaction(transaction_id=f"t{number}") for number in range(60)]
    raw_id = pipeline.seal_pages((account, page(added=records)))
    pipeline.load(raw_id)
    before = rows(ROWS)
    pipeline.entity = versioned(pipeline.entity, pending="no_such_field")
    assert pipeline.replay(raw_id) == load_counts(rejected=60)
    assert rows(ROWS) == before
    assert rows("select count(*) from etl.quarantines") == rows("select count(*) from etl.left_out") == [(0,)]


def test_a_dry_run_reports_rows_and_money_and_changes_nothing(pipeline: Pipeline, rows: Rows, account: int) -> None:
    lost = transaction(transaction_id="lost", amount=5, iso_currency_code="EUR")
    raw_id = pipeline.seal_pages((account, page(added=[transaction(amount=Decimal("1.25")), lost])))
    pipeline.load(raw_id)
    pipeline.db.execute("delete from core.transactions where transaction_id = 'lost'")
    pipeline.db.execute("update core.transactions set amount = 0.25")
    tables = ("core.transactions", "etl.loads", "etl.replays", "etl.rejects", "etl.cursors")
    before = [rows(f"select * from {table}") for table in tables]
    with start_dry_run(pipeline.entity, db=pipeline.db) as dry_run:
        assert pipeline.replay(raw_id, dry_run=dry_run) == load_counts(inserted=1, updated=1)
        changed, count = before_image.changed_rows(pipeline.db, pipeline.entity, limit=1)
        totals = before_image.money_totals(pipeline.db, pipeline.entity)
    assert count == 2
    (change,) = changed
    assert change.key == {"provider_account_id": account, "transaction_id": KEY["transaction_id"]}
    assert change.before is not None
    assert (change.before["amount"], change.after["amount"]) == (Decimal("0.25"), Decimal("1.25"))
    assert totals == [
        MoneyTotal("amount", "EUR", Decimal(0), Decimal(5)),
        MoneyTotal("amount", "USD", Decimal("0.25"), Decimal("1.25")),
    ]
    assert [rows(f"select * from {table}") for table in tables] == before
