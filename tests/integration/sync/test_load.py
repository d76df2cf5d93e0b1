"""Loading a batch: no duplicate, no loss, no older value over a newer one, rows and cursors in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from etl.db.connection import Connection
from etl.errors import TypedMissing
from etl.sync.store import cursors, raw_batches, staging
from etl.sync.store.loads import LoadCounts
from etl.sync.store.typed_batches import CursorMove, TypedBatch
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
KEY = {name: transaction()[name] for name in ("account_id", "transaction_id")}


def load_counts(**counts: int) -> LoadCounts:
    names = ("inserted", "updated", "unchanged", "removed", "superseded", "stale", "rejected", "quarantined")
    return LoadCounts(read=sum(counts.values()), **{name: counts.get(name, 0) for name in names})


def test_rows_and_cursor_are_committed_together(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    assert pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])), moves=">a")) == load_counts(
        inserted=1
    )
    assert rows("select provider_account_id, value from etl.cursors") == [(account, "a")]
    assert rows("select count(*) from core.transactions") == [(1,)]


def test_keys_that_do_not_fit_in_memory_are_not_compared_pairwise(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = staging.fill_rows

    def fill_with_little_memory(db: Connection, *arguments: Any) -> int:
        count = fill(db, *arguments)
        db.execute("set local work_mem = '64kB'")
        return count

    monkeypatch.setattr(staging, "fill_rows", fill_with_little_memory)
    (account,) = pipeline.enrol("one")
    records = [transaction(transaction_id=f"t{number}") for number in range(30_000)]
    raw_id = pipeline.seal_pages((account, page(added=[*records, records[0]])))
    pipeline.db.execute("set statement_timeout = '10s'")
    assert pipeline.load(raw_id) == load_counts(inserted=30_000, superseded=1)


def test_a_load_that_dies_before_its_cursor_moved_leaves_no_row(
    pipeline: Pipeline, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = pipeline.enrol("one")
    raw_id = pipeline.seal_pages((account, page(added=[transaction()])))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cursors, "advance", die)
        with pytest.raises(KeyboardInterrupt):
            pipeline.load(raw_id)
    assert rows("select count(*) from core.transactions") == [(0,)]
    assert rows("select count(*) from etl.cursors where value <> ''") == [(0,)]
    assert pipeline.load(raw_id) == load_counts(inserted=1)


def test_concurrent_loads_of_one_batch_load_it_once(
    pipeline: Pipeline, rows: Rows, connect: Callable[[], Connection]
) -> None:
    (account,) = pipeline.enrol("one")
    records = [transaction(transaction_id=f"t{number}") for number in range(2_000)]
    raw_id = pipeline.seal_pages((account, page(added=records)))
    with ThreadPoolExecutor(2) as threads:
        loads = [threads.submit(pipeline.load, raw_id, db=connect()) for _ in range(2)]
    assert [load.result() for load in loads] == [load_counts(inserted=2_000)] * 2
    assert rows("select count(*) from core.transactions") == [(2_000,)]


def test_an_account_whose_cursor_moved_on_is_dropped_from_the_batch_and_the_others_load(
    pipeline: Pipeline, rows: Rows
) -> None:
    one, two, three = pipeline.enrol("one", "two", "three")
    pages = [(account, page(added=[transaction(transaction_id=f"t{account}")])) for account in (one, two, three)]
    batch = pipeline.seal_pages(*pages, moves=">a")
    ahead = pipeline.seal_pages((two, page(added=[transaction(transaction_id="ahead")])), moves=">b", run_id="other")
    assert pipeline.load(ahead) == load_counts(inserted=1)
    assert pipeline.load(batch) == load_counts(inserted=2, stale=1)
    assert rows("select provider_account_id, value from etl.cursors order by 1") == [
        (one, "a"),
        (two, "b"),
        (three, "a"),
    ]
    assert rows("select transaction_id from core.transactions where provider_account_id = %s", two) == [("ahead",)]


def test_all_records_of_an_account_whose_cursor_moved_on_are_stale_even_duplicates(pipeline: Pipeline) -> None:
    one, two = pipeline.enrol("one", "two")
    twice = page(added=[transaction(), transaction(amount=2), transaction(transaction_id="other")])
    batch = pipeline.seal_pages((one, twice), (two, twice), moves=">a")
    pipeline.load(pipeline.seal_pages((two, page(added=[])), moves=">b", run_id="other"))
    assert pipeline.load(batch) == load_counts(inserted=2, superseded=1, stale=3)


def test_an_older_record_never_replaces_a_newer_one(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    newer = pipeline.seal_pages((account, page(added=[transaction(amount=2)])), moves=">a", at=LATER)
    pipeline.source = "transactions_get"
    window = msgspec.json.encode({"transactions": [transaction(amount=1)], "total_transactions": 1})
    older = pipeline.seal_pages((account, window), at=FIRST, run_id="backfill")
    assert pipeline.load(newer) == load_counts(inserted=1)
    assert pipeline.load(older) == load_counts(superseded=1)
    assert rows("select amount::int from core.transactions") == [(2,)]


def test_the_next_batch_of_a_feed_is_never_older_whatever_the_clock_of_its_worker(
    pipeline: Pipeline, rows: Rows
) -> None:
    (account,) = pipeline.enrol("one")
    other = transaction(transaction_id="other")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction(amount=1), other])), moves=">a", at=LATER))
    late = page(modified=[transaction(amount=2)], removed=[{**KEY, "transaction_id": "other"}])
    assert pipeline.load(pipeline.seal_pages((account, late), moves="a>b", at=FIRST)) == load_counts(
        updated=1, removed=1
    )
    assert rows("select amount::int, observed_at from core.transactions where removed_at is null") == [(2, LATER)]


def test_a_changed_record_updates_its_row(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    other = transaction(transaction_id="other")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction(amount=1, pending=True), other])), moves=">a"))
    batch = pipeline.seal_pages((account, page(modified=[transaction(amount=2), other])), moves="a>b", at=LATER)
    assert pipeline.load(batch) == load_counts(updated=1, unchanged=1)
    assert rows("select amount::int, pending, raw_id, observed_at from core.transactions where amount = 2") == [
        (2, False, batch, LATER)
    ]


def test_the_last_record_of_a_key_in_a_batch_wins(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    body = page(added=[transaction(amount=1), transaction(amount=2)], modified=[transaction(amount=3)])
    assert pipeline.load(pipeline.seal_pages((account, body))) == load_counts(inserted=1, superseded=2)
    assert rows("select amount::int from core.transactions") == [(3,)]


def test_one_key_in_two_provider_accounts_is_two_rows(pipeline: Pipeline) -> None:
    one, two = pipeline.enrol("one", "two")
    pages = [(account, page(added=[transaction()])) for account in (one, two)]
    assert pipeline.load(pipeline.seal_pages(*pages)) == load_counts(inserted=2)


def test_a_removed_row_stays_as_a_tombstone_and_can_come_back(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])), moves=">a"))
    removal = pipeline.seal_pages((account, page(removed=[KEY])), moves="a>b", at=LATER)
    assert pipeline.load(removal) == load_counts(removed=1)
    assert rows("select removed_at, amount is not null from core.transactions") == [(LATER, True)]
    back = pipeline.seal_pages((account, page(added=[transaction()])), moves="b>c", at=LATER + timedelta(hours=1))
    assert pipeline.load(back) == load_counts(updated=1)
    assert rows("select removed_at from core.transactions") == [(None,)]


def test_removing_an_unknown_key_changes_nothing(pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    body = page(removed=[{"account_id": "a", "transaction_id": "never seen"}])
    assert pipeline.load(pipeline.seal_pages((account, body))) == load_counts(unchanged=1)


def test_a_bad_record_is_kept_as_a_reject_and_its_siblings_load(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    good = [transaction(transaction_id=f"t{number}") for number in range(40)]
    bad = transaction(transaction_id="bad", amount="a lot")
    raw_id = pipeline.seal_pages((account, page(added=[*good, bad])))
    assert pipeline.load(raw_id) == load_counts(inserted=40, rejected=1)
    assert rows("select raw_id, provider_account_id, line, path, rule from etl.rejects") == [
        (raw_id, account, 0, "added[40].amount", "type")
    ]


def test_a_batch_that_was_not_typed_is_not_loaded(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    raw_id = pipeline.seal_pages((account, page(added=[transaction()])))
    pipeline.entity = replace(pipeline.entity, version=pipeline.entity.version + 1)
    with pytest.raises(TypedMissing):
        pipeline.load(raw_id)
    assert rows("select count(*) from core.transactions") == [(0,)]


def test_a_typed_batch_has_every_good_row_and_says_of_each_login_what_was_rejected(pipeline: Pipeline) -> None:
    one, two, three = pipeline.enrol("one", "two", "three")
    bad = [transaction(transaction_id=f"t{number}", iso_currency_code="???") for number in range(30)]
    mixed = page(added=[*bad, transaction(transaction_id="odd", amount="?"), transaction()], removed=[{}])
    raw_id = pipeline.seal_pages((one, mixed), (one, mixed), (two, page(added=[transaction()])), (three, page()))
    typed = TypedBatch(pipeline.root, pipeline.entity, raw_batches.find(pipeline.db, raw_id))
    moves = [move for batch in typed.cursor_moves() for move in batch.to_pylist()]
    path, rule = "added[].iso_currency_code", "iso4217"
    assert [CursorMove(**move) for move in moves] == [
        CursorMove(one, "", "a", whole=False, read=66, rejected=64, fault_path=path, fault_rule=rule),
        CursorMove(two, "", "a", whole=False, read=1),
        CursorMove(three, "", "a", whole=False),
    ]
    assert sum(batch.num_rows for batch in typed.rows()) == 3
    assert pipeline.load(raw_id) == load_counts(inserted=1, quarantined=66)


def test_a_few_rejects_never_stop_a_small_batch(pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    body = page(added=[transaction(), transaction(transaction_id="bad", iso_currency_code="???")])
    assert pipeline.load(pipeline.seal_pages((account, body))) == load_counts(inserted=1, rejected=1)


def test_many_records_of_one_key_are_merged_within_20_seconds(pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    raw_id = pipeline.seal_pages((account, page(added=[transaction()] * 50_000)))
    pipeline.db.execute("set statement_timeout = '20s'")
    assert pipeline.load(raw_id) == load_counts(inserted=1, superseded=49_999)


@pytest.mark.parametrize("name", ["", "\\N", "a,b", 'say "hi"', "line\r\nbreak", "\\.", "émoji 🥐", "tab\there"])
def test_text_is_stored_exactly(pipeline: Pipeline, rows: Rows, name: str) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction(name=name, merchant_name=None)]))))
    assert rows("select description, merchant_name from core.transactions") == [(name, None)]


def test_money_is_stored_exactly(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    amount = "-999999999999999999.9999999999"
    pipeline.load(
        pipeline.seal_pages(
            (
                account,
                page(
                    added=[
                        transaction(
                            amount=msgspec.Raw(amount.encode()), iso_currency_code=None, unofficial_currency_code="BTC"
                        )
                    ]
                ),
            )
        )
    )
    assert rows("select amount::text from core.transactions") == [(amount,)]
