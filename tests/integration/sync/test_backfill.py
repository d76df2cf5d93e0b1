"""Windows of past days: merged like anything else, but no cursor moves and nothing is buried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from etl.catalog.providers.plaid import TRANSACTIONS_GET
from etl.chunking import Days
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
DAY = Days(date(2026, 11, 20), date(2026, 11, 20))


def window(*ids: str, total: int | None = None) -> bytes:
    records = [transaction(transaction_id=identifier) for identifier in ids]
    return msgspec.json.encode({"transactions": records, "total_transactions": len(ids) if total is None else total})


def test_a_window_brings_deleted_rows_back_and_moves_no_cursor(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    scripted.script(
        "one", page(added=[transaction(transaction_id="t1"), transaction(transaction_id="t2")]), window("t1", "t2")
    )
    moody.run("scheduled")
    cursors = rows("select value, raw_id, moved_at from etl.cursors")
    kept = "select transaction_id, amount, dated_on, removed_at from core.transactions order by 1"
    before = rows(kept)
    moody.db.execute("delete from core.transactions")
    (counts,) = moody.run("backfill", DAY)
    assert (counts.read, counts.inserted) == (2, 2)
    assert rows(kept) == before
    assert rows("select value, raw_id, moved_at from etl.cursors") == cursors


def test_a_window_asks_for_its_days_page_by_page(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.entity = replace(moody.entity, window=replace(TRANSACTIONS_GET, page_size=2))
    moody.enrol("one")
    scripted.script("one", window("t1", "t2", total=3), window("t3", total=3))
    (counts,) = moody.run("backfill", DAY)
    assert counts.inserted == 3
    assert scripted.requests["one"] == [
        {"start_date": "2026-11-20", "end_date": "2026-11-20", "options": {"count": 2}},
        {"start_date": "2026-11-20", "end_date": "2026-11-20", "options": {"count": 2, "offset": 2}},
    ]


def test_a_window_buries_no_row_that_it_lacks(moody: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    moody.enrol("one")
    scripted.script(
        "one", page(added=[transaction(transaction_id="t1"), transaction(transaction_id="t2")]), window("t1")
    )
    moody.run("scheduled")
    (counts,) = moody.run("backfill", DAY)
    assert (counts.unchanged, counts.removed) == (1, 0)
    assert rows("select count(*) from core.transactions where removed_at is null") == [(2,)]


def test_a_window_that_changes_while_it_is_read_is_read_again(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    scripted.script("one", window("t1", total=2), window("t1", "t2", "t3", total=3), window("t1", "t2", "t3", total=3))
    (counts,) = moody.run("backfill", DAY)
    assert counts.inserted == 3
    assert rows("select pages from etl.raw_batches") == [(1,)]


def test_a_window_that_finds_everything_known_writes_no_cursor(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    scripted.script("one", window("t1"), window("t1"), window("t1", "t2"))
    moody.run("first", DAY)
    before = rows("select observed_at from etl.cursors")
    (again,) = moody.run("again", DAY)
    assert again.unchanged == 1
    assert rows("select observed_at from etl.cursors") == before
    moody.run("more", DAY)
    assert rows("select observed_at > %s from etl.cursors", *before[0]) == [(True,)]


def test_a_day_without_records_loads_nothing(moody: Pipeline, scripted: ScriptedBank) -> None:
    moody.enrol("one")
    scripted.script("one", window())
    (counts,) = moody.run("backfill", DAY)
    assert counts.read == 0


def test_a_window_that_does_not_go_on_is_left_out(moody: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    moody.enrol("stuck", "fine")
    scripted.script("stuck", window("t1", total=5), window(total=5))
    scripted.script("fine", window("t2"))
    moody.run("backfill", DAY)
    assert rows("select outcome from etl.chunks") == [({"unreachable": 1, "drained": 1},)]


def test_a_pending_transaction_that_only_a_window_saw_ends_though_the_feed_never_tells_its_end(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    today = datetime.now(UTC).date()
    pending = {
        name: transaction(transaction_id=name, pending=True, date=str(today - timedelta(days=days)))
        for name, days in {"posted soon": 1, "withdrawn": 15, "still pending": 13}.items()
    }
    posted = transaction(transaction_id="posted", pending_transaction_id="posted soon")
    listed = msgspec.json.encode({"transactions": list(pending.values()), "total_transactions": 3})
    scripted.script("one", listed, page(added=[posted]))
    (counts,) = moody.run("backfill", DAY)
    assert counts.inserted == 3
    moody.run("scheduled")
    assert rows("select transaction_id, removed_for from core.transactions order by 1") == [
        ("posted", None),
        ("posted soon", "posted"),
        ("still pending", None),
        ("withdrawn", "withdrawn"),
    ]


def test_a_pending_transaction_that_the_feed_told_of_ends_when_the_feed_says_so(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    old = transaction(transaction_id="old", pending=True, date="2026-01-01")
    scripted.script("one", page(added=[old], next_cursor="c1"), page(added=[transaction()], next_cursor="c2"))
    moody.run("first")
    moody.run("second")
    assert rows("select removed_at from core.transactions where transaction_id = 'old'") == [(None,)]


def test_a_window_that_is_loaded_after_a_later_reading_of_the_feed_changes_nothing(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    moody.enrol("one")
    known, gone = transaction(transaction_id="t", amount=1), transaction(transaction_id="gone")
    listed = [transaction(transaction_id="t", amount=2), gone]
    scripted.script(
        "one",
        page(added=[known], next_cursor="c1"),
        msgspec.json.encode({"transactions": listed, "total_transactions": 2}),
        page(modified=[known], removed=[gone], next_cursor="c2"),
    )
    moody.run("scheduled")
    moody.plan("backfill", DAY)
    late = moody.fetch("backfill")
    moody.run("next")
    counts = moody.load(late)
    assert (counts.read, counts.superseded) == (2, 2)
    assert rows("select transaction_id, amount::int from core.transactions") == [("t", 1)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["posted first", "removed first"])
def test_a_pending_transaction_that_was_posted_is_buried_as_such(
    pipeline: Pipeline, rows: Rows, order: tuple[int, ...]
) -> None:
    (account,) = pipeline.enrol("one")
    pending = transaction(transaction_id="p", pending=True)
    pipeline.load(
        pipeline.seal_pages((account, page(added=[pending, transaction(transaction_id="gone", pending=True)])))
    )
    key = {"account_id": pending["account_id"], "transaction_id": "p"}
    withdrawn = {**key, "transaction_id": "gone"}
    posted = page(added=[transaction(transaction_id="q", pending_transaction_id="p")])
    removed = page(removed=[key, withdrawn])
    pages = [(account, posted), (account, removed)]
    pipeline.load(pipeline.seal_pages(*(pages[place] for place in order), moves="a>b"))
    assert rows("select transaction_id, removed_for from core.transactions order by 1") == [
        ("gone", "withdrawn"),
        ("p", "posted"),
        ("q", None),
    ]
