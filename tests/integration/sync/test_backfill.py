"""Windows of past days: merged like other batches, but they move no cursor and remove no row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from etl.catalog.providers.plaid import TRANSACTIONS_GET
from etl.chunking import DayRange
from etl.sync.provider import pages
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
DAY = DayRange(date(2026, 11, 20), date(2026, 11, 20))


def window(*ids: str, total: int | None = None) -> bytes:
    records = [transaction(transaction_id=identifier) for identifier in ids]
    return msgspec.json.encode({"transactions": records, "total_transactions": len(ids) if total is None else total})


def test_a_window_restores_deleted_rows_and_moves_no_cursor(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script(
        "one", page(added=[transaction(transaction_id="t1"), transaction(transaction_id="t2")]), window("t1", "t2")
    )
    scripted_pipeline.run("scheduled")
    cursors = rows("select value, raw_id, moved_at from etl.cursors")
    query = "select transaction_id, amount, dated_on, removed_at from core.transactions order by 1"
    before = rows(query)
    scripted_pipeline.db.execute("delete from core.transactions")
    (counts,) = scripted_pipeline.run("backfill", DAY)
    assert (counts.read, counts.inserted) == (2, 2)
    assert rows(query) == before
    assert rows("select value, raw_id, moved_at from etl.cursors") == cursors


def test_a_window_requests_its_days_page_by_page(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    scripted_pipeline.entity = replace(scripted_pipeline.entity, window=replace(TRANSACTIONS_GET, page_size=2))
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", window("t1", "t2", total=3), window("t2", "t3", total=3))
    (counts,) = scripted_pipeline.run("backfill", DAY)
    assert (counts.read, counts.inserted, counts.superseded) == (4, 3, 1)
    assert scripted_bank.requests["one"] == [
        {"start_date": "2026-11-20", "end_date": "2026-11-20", "options": {"count": 2}},
        {"start_date": "2026-11-20", "end_date": "2026-11-20", "options": {"count": 2, "offset": 1}},
    ]


class ListedBank(ScriptedBank):
    """A bank that lists transactions newest first, and changes its list between two requests."""

    def __init__(self, *lists: str) -> None:
        super().__init__()
        self._lists = [listed.split() for listed in lists]

    def answer(self, request: dict[str, object]) -> Answer:
        """Return the requested part of the list."""
        super().answer(request)
        listed = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        options = request["options"]
        assert isinstance(options, dict)
        first = options.get("offset", 0)
        return Answer(window(*listed[first : first + options["count"]], total=len(listed)))


@pytest.mark.parametrize(
    "lists",
    [
        ("t1 t2 t3 t4 t5", "t0 t1 t2 t3 t4"),
        ("t1 t2 t3 t4 t5", "t1 t3 t4 t5 t6"),
        ("t1 t2 t3 t4 t5", "t1 t2 t3 t4 t5", "t0 t1 t2 t3 t4"),
    ],
    ids=["one added at the front", "one removed at the front", "on the last page"],
)
def test_a_window_whose_records_shift_while_its_total_stays_is_read_again_and_misses_none(
    scripted_pipeline: Pipeline, rows: Rows, lists: tuple[str, ...]
) -> None:
    scripted_pipeline.entity = replace(scripted_pipeline.entity, window=replace(TRANSACTIONS_GET, page_size=2))
    scripted_pipeline.enrol("one")
    with ListedBank(*lists) as bank:
        bank.script("one", b"")
        scripted_pipeline.endpoint = replace(scripted_pipeline.endpoint, host=bank.url)
        scripted_pipeline.run("backfill", DAY)
    assert [name for (name,) in rows("select transaction_id from core.transactions order by 1")] == lists[-1].split()


def test_a_window_is_read_to_its_end_however_small_its_pages_are(scripted_pipeline: Pipeline, rows: Rows) -> None:
    scripted_pipeline.entity = replace(scripted_pipeline.entity, window=replace(TRANSACTIONS_GET, page_size=1))
    scripted_pipeline.enrol("one")
    with ListedBank("t1 t2 t3 t4") as bank:
        bank.script("one", b"")
        scripted_pipeline.endpoint = replace(scripted_pipeline.endpoint, host=bank.url)
        (counts,) = scripted_pipeline.run("backfill", DAY)
    assert counts.inserted == 4


def test_an_endless_window_is_skipped(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 5)
    scripted_pipeline.enrol("endless", "fine")
    scripted_bank.script("endless", *(window(f"t{number}", f"t{number + 1}", total=99) for number in range(20)))
    scripted_bank.script("fine", window("t2"))
    scripted_pipeline.entity = replace(
        scripted_pipeline.entity, provider=replace(scripted_pipeline.entity.provider, retries=0)
    )
    scripted_pipeline.run("backfill", DAY)
    assert rows("select outcome, reason from etl.left_out") == [
        ("unreachable", "a window that does not end, after 5 pages")
    ]
    assert len(scripted_bank.requests["endless"]) == 5


def test_a_row_that_is_missing_from_a_window_is_not_removed(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script(
        "one", page(added=[transaction(transaction_id="t1"), transaction(transaction_id="t2")]), window("t1")
    )
    scripted_pipeline.run("scheduled")
    (counts,) = scripted_pipeline.run("backfill", DAY)
    assert (counts.unchanged, counts.removed) == (1, 0)
    assert rows("select count(*) from core.transactions where removed_at is null") == [(2,)]


def test_a_window_that_changes_during_pagination_is_read_again(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script(
        "one", window("t1", total=2), window("t1", "t2", "t3", total=3), window("t1", "t2", "t3", total=3)
    )
    (counts,) = scripted_pipeline.run("backfill", DAY)
    assert counts.inserted == 3
    assert rows("select pages from etl.raw_batches") == [(1,)]


def test_a_window_without_changes_writes_no_cursor(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", window("t1"), window("t1"), window("t1", "t2"))
    scripted_pipeline.run("first", DAY)
    before = rows("select observed_at from etl.cursors")
    (second,) = scripted_pipeline.run("second", DAY)
    assert second.unchanged == 1
    assert rows("select observed_at from etl.cursors") == before
    scripted_pipeline.run("more", DAY)
    assert rows("select observed_at > %s from etl.cursors", *before[0]) == [(True,)]


def test_a_day_without_records_loads_nothing(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", window())
    (counts,) = scripted_pipeline.run("backfill", DAY)
    assert counts.read == 0


def test_an_account_whose_window_ends_before_its_total_is_skipped(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("stuck", "fine")
    scripted_bank.script("stuck", window("t1", total=5), window(total=5))
    scripted_bank.script("fine", window("t2"))
    scripted_pipeline.run("backfill", DAY)
    assert rows("select outcome from etl.chunks") == [({"unreachable": 1, "drained": 1},)]


def holds(*ids: str, **fields: object) -> bytes:
    """Return a window of pending transactions."""
    records = [transaction(transaction_id=identifier, pending=True, **fields) for identifier in ids]
    return msgspec.json.encode({"transactions": records, "total_transactions": len(ids)})


def test_a_pending_transaction_that_only_a_window_has_is_not_loaded_since_the_feed_would_never_end_it(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    known = transaction(transaction_id="known", pending=True)
    scripted_bank.script("one", page(added=[known]), holds("known", "unknown", name="NEW NAME"))
    scripted_pipeline.run("scheduled")
    (counts,) = scripted_pipeline.run("backfill", DAY)
    assert (counts.read, counts.updated, counts.superseded) == (2, 1, 1)
    assert rows("select transaction_id, description from core.transactions") == [("known", "NEW NAME")]


def test_a_window_does_not_revive_a_pending_transaction_that_the_feed_ended(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    hold = transaction(transaction_id="hold", pending=True)
    scripted_bank.script(
        "one", page(added=[hold], next_cursor="c1"), page(removed=[hold], next_cursor="c2"), holds("hold")
    )
    scripted_pipeline.run("first")
    scripted_pipeline.run("second")
    (counts,) = scripted_pipeline.run("backfill", DAY)
    assert counts.superseded == 1
    assert rows("select transaction_id, removed_for from core.transactions") == [("hold", "withdrawn")]


def test_a_window_that_brings_a_posted_transaction_ends_its_pending_one_at_once(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    posted = transaction(transaction_id="posted", pending_transaction_id="hold")
    scripted_bank.script(
        "one",
        page(added=[transaction(transaction_id="hold", pending=True)]),
        msgspec.json.encode({"transactions": [posted], "total_transactions": 1}),
    )
    scripted_pipeline.run("scheduled")
    scripted_pipeline.run("backfill", DAY)
    ends = rows("select transaction_id, removed_for, observed_at from core.transactions order by 1")
    assert [row[:2] for row in ends] == [("hold", "posted"), ("posted", None)]
    assert rows("select observed_at from etl.cursors") == [(ends[0][2],)]


def test_a_pending_transaction_lives_until_the_feed_or_a_posted_one_ends_it_however_old_it_is(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    old = str(datetime.now(UTC).date() - timedelta(days=40))
    hold = transaction(transaction_id="hold", pending=True, date=old)
    other = {"transaction_id": "other"}
    scripted_bank.script(
        "one",
        page(added=[hold], next_cursor="c1"),
        holds("hold", date=old, name="NEW NAME"),
        page(added=[transaction(**other)], next_cursor="c2"),
    )
    scripted_pipeline.run("first")
    scripted_pipeline.run("backfill", DAY)
    scripted_pipeline.run("second")
    assert rows("select description, removed_at from core.transactions where pending") == [("NEW NAME", None)]


def test_a_pending_transaction_of_the_feed_is_closed_only_by_the_feed(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    old = transaction(transaction_id="old", pending=True, date="2026-01-01")
    scripted_bank.script("one", page(added=[old], next_cursor="c1"), page(added=[transaction()], next_cursor="c2"))
    scripted_pipeline.run("first")
    scripted_pipeline.run("second")
    assert rows("select removed_at from core.transactions where transaction_id = 'old'") == [(None,)]


def test_a_window_that_is_loaded_after_a_later_read_of_the_feed_changes_nothing(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    current, gone = transaction(transaction_id="t", amount=1), transaction(transaction_id="gone")
    listed = [transaction(transaction_id="t", amount=2), gone]
    scripted_bank.script(
        "one",
        page(added=[current], next_cursor="c1"),
        msgspec.json.encode({"transactions": listed, "total_transactions": 2}),
        page(modified=[current], removed=[gone], next_cursor="c2"),
    )
    scripted_pipeline.run("scheduled")
    scripted_pipeline.plan("backfill", DAY)
    late = scripted_pipeline.fetch("backfill")
    scripted_pipeline.run("next")
    counts = scripted_pipeline.load(late)
    assert (counts.read, counts.superseded) == (2, 2)
    assert rows("select transaction_id, amount::int from core.transactions") == [("t", 1)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["posted first", "removed first"])
def test_the_tombstone_of_a_posted_pending_transaction_says_posted(
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
    pipeline.load(pipeline.seal_pages(*(pages[index] for index in order), moves="a>b"))
    assert rows("select transaction_id, removed_for from core.transactions order by 1") == [
        ("gone", "withdrawn"),
        ("p", "posted"),
        ("q", None),
    ]


REREADS = "select value, reread from etl.cursors"
KNOWN = transaction(transaction_id="known", date="2026-11-19")


@pytest.mark.parametrize("told", [[], [transaction(transaction_id="other")]], ids=["quiet feed", "feed with news"])
@pytest.mark.parametrize("reads", [0, 1], ids=["before the feed", "between two reads"])
def test_a_row_that_only_a_window_brought_and_the_bank_removed_ends_by_a_full_read_of_the_feed(
    scripted_pipeline: Pipeline,
    scripted_bank: ScriptedBank,
    rows: Rows,
    reads: int,
    told: list[dict[str, object]],
) -> None:
    scripted_pipeline.enrol("one")
    first = page(added=[KNOWN], next_cursor="c1")
    news = page(added=told if reads else [KNOWN, *told], next_cursor="c2")
    scripted_bank.script("one", *[first] * reads, window("gone"), news, page(added=[KNOWN, *told], next_cursor="c3"))
    for number in range(reads):
        scripted_pipeline.run(f"first {number}")
    scripted_pipeline.run("backfill", DAY)
    scripted_pipeline.run("next")
    gone = "select removed_for from core.transactions where transaction_id = 'gone'"
    assert (rows(gone), rows(REREADS)) == ([(None,)], [("c2", True)])
    for run_id in ("full", "later"):
        scripted_pipeline.run(run_id)
        assert (rows(gone), rows(REREADS)) == ([("absent",)], [("c3", False)])
    assert "cursor" not in scripted_bank.requests["one"][-2]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (KNOWN, []),
        (transaction(transaction_id="new"), [transaction(transaction_id="new")]),
        (transaction(transaction_id="old", date="2001-01-01"), []),
        (transaction(transaction_id="known", date="2026-11-19", name="CHANGED"), [{**KNOWN, "name": "CHANGED"}]),
    ],
    ids=["known to the feed", "told by the feed", "before the promised history", "changed in both"],
)
def test_a_window_causes_no_full_read_if_it_proves_nothing_that_the_feed_does_not_tell(
    scripted_pipeline: Pipeline,
    scripted_bank: ScriptedBank,
    rows: Rows,
    listed: dict[str, object],
    told: list[dict[str, object]],
) -> None:
    scripted_pipeline.enrol("one")
    listing = msgspec.json.encode({"transactions": [listed], "total_transactions": 1})
    scripted_bank.script("one", page(added=[KNOWN]), listing, page(added=told, next_cursor="c2"))
    scripted_pipeline.run("first")
    scripted_pipeline.run("backfill", DAY)
    scripted_pipeline.run("next")
    assert rows(REREADS) == [("c2", False)]


def test_a_row_of_a_window_that_the_feed_has_told_of_causes_no_full_read_after_a_later_window(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("one")
    changed = {**KNOWN, "name": "CHANGED"}
    scripted_bank.script(
        "one",
        page(added=[KNOWN]),
        window("new"),
        page(added=[transaction(transaction_id="new")], next_cursor="c2"),
        msgspec.json.encode({"transactions": [changed], "total_transactions": 1}),
        page(modified=[changed], next_cursor="c3"),
    )
    for run_id, days in (("first", None), ("window", DAY), ("second", None), ("later window", DAY), ("third", None)):
        scripted_pipeline.run(run_id, days)
    assert rows(REREADS) == [("c3", False)]


def test_rows_that_the_feed_does_not_tell_of_are_looked_for_only_after_a_window(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.load(
        pipeline.seal_pages((account, page(added=[transaction(transaction_id=f"t{each}") for each in range(300)])))
    )
    raw_id = pipeline.seal_pages((account, page()), run_id="next", moves="a>b")
    with pipeline.db.transaction():
        pipeline.load(raw_id)
        are_few = rows(
            "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) < 10 from pg_stat_xact_user_tables "
            "where relname like 'transactions_%' and relname not like '%history%'"
        )
    assert are_few == [(True,)]
