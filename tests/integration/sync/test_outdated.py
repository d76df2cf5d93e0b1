"""A row whose newer record was rejected is marked until the next record, which closes the reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from tests.integration.sync.pipeline import LATER, Pipeline
from tests.integration.sync.test_endings import OUTDATED, REJECTS, STATE, at, load_in_turn
from tests.integration.sync.test_entities import account as account_record
from tests.integration.sync.test_entities import snapshot
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


def test_a_rejected_correction_marks_its_row_until_the_next_record_even_an_equal_one(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    wrong = transaction(amount=8, iso_currency_code="???")
    first, second = load_in_turn(pipeline, account, page(added=[transaction()]), page(modified=[wrong]))
    assert rows("select outdated_at, amount::float from core.transactions") == [(at(1), 72.1)]
    assert rows(REJECTS)[0][1:] == (True, None)
    for batch in (first, second):
        pipeline.replay(batch)
    assert rows("select outdated_at from core.transactions") == [(at(1),)]
    third = pipeline.seal_pages((account, page(modified=[transaction()])), moves="2>3", at=at(2), run_id="last")
    assert pipeline.load(third).updated == 1
    assert rows("select outdated_at, raw_id from core.transactions") == [(None, third)]
    assert rows(REJECTS)[0][1:] == (False, third)
    for batch in (second, first, third):
        pipeline.replay(batch)
    assert rows("select outdated_at, raw_id from core.transactions") == [(None, third)]
    assert rows(REJECTS)[0][1:] == (False, third)


def test_a_rejected_record_brings_back_its_row_that_a_read_lacked_out_of_date(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    other, wrong = transaction(transaction_id="other"), transaction(iso_currency_code="???")
    load_in_turn(pipeline, account, page(added=[transaction(), other]))
    lacking = pipeline.seal_pages((account, page(added=[other])), moves="1>2", at=at(1), run_id="full", whole=True)
    pipeline.load(lacking)
    state = "select removed_for, outdated_at, amount::float from core.transactions where transaction_id <> 'other'"
    assert rows(state) == [("absent", None, 72.1)]
    pipeline.load(pipeline.seal_pages((account, page(modified=[wrong])), moves="2>3", at=at(2), run_id="wrong"))
    assert rows(state) == [(None, at(2), 72.1)]
    pipeline.replay(lacking)
    assert rows(state) == [(None, at(2), 72.1)]


def test_a_lost_row_is_restored_with_the_mark_of_its_rejected_correction(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    wrong = transaction(iso_currency_code="???")
    first, _ = load_in_turn(pipeline, account, page(added=[transaction()]), page(modified=[wrong]))
    before = rows(STATE)
    pipeline.db.execute("delete from core.transactions")
    pipeline.replay(first)
    assert rows(STATE) == before


def test_a_record_that_is_older_than_the_reject_leaves_the_mark(pipeline: Pipeline, rows: Rows, account: int) -> None:
    wrong = page(modified=[transaction(iso_currency_code="???")])
    load_in_turn(pipeline, account, page(added=[transaction(amount=1)]), page(), wrong)
    pipeline.source = "transactions_get"
    older = window(transaction(amount=2))
    pipeline.load(pipeline.seal_pages((account, older), moves=">", at=at(1), run_id="backfill"))
    assert rows("select amount::int, outdated_at from core.transactions") == [(2, at(2))]


def test_a_removal_closes_the_reject_of_its_record_and_clears_the_mark(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    wrong = transaction(transaction_id="t", iso_currency_code="???")
    added = transaction(transaction_id="t")
    batches = load_in_turn(
        pipeline, account, page(added=[added]), page(modified=[wrong]), page(removed=[{"transaction_id": "t"}])
    )
    assert rows("select removed_for, outdated_at from core.transactions") == [("withdrawn", None)]
    assert rows(REJECTS) == [("t", False, batches[2])]


def test_a_rejected_revival_marks_the_tombstone_until_the_next_removal(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    key: dict[str, object] = {"transaction_id": "t"}
    wrong = transaction(transaction_id="t", iso_currency_code="???")
    bodies = [page(added=[transaction(transaction_id="t")]), page(removed=[key]), page(added=[wrong])]
    load_in_turn(pipeline, account, *bodies)
    assert rows(OUTDATED) == [("t", at(2))]
    pipeline.load(pipeline.seal_pages((account, page(removed=[key])), moves="3>4", at=at(3), run_id="last"))
    assert rows(OUTDATED) == []
    assert rows("select removed_at from core.transactions") == [(at(3),)]


def test_a_record_closes_only_the_rejects_of_its_own_login_and_id(pipeline: Pipeline, rows: Rows, account: int) -> None:
    (other,) = pipeline.enrol("two")
    wrong = {"iso_currency_code": "???"}
    bad = page(added=[transaction(transaction_id="t", **wrong), transaction(transaction_id="u", **wrong)])
    pipeline.load(pipeline.seal_pages((account, bad), (other, bad)))
    good = pipeline.seal_pages((account, page(added=[transaction(transaction_id="t")])), moves="a>b", at=LATER)
    pipeline.load(good)
    assert rows("select provider_account_id, record_id, closed_by from etl.rejects order by 1, 2") == [
        (account, "t", good),
        (account, "u", None),
        (other, "t", None),
        (other, "u", None),
    ]


def test_a_stale_batch_marks_no_row(pipeline: Pipeline, rows: Rows, account: int) -> None:
    load_in_turn(pipeline, account, page(added=[transaction()]))
    wrong = page(modified=[transaction(iso_currency_code="???")])
    stale = pipeline.seal_pages((account, wrong), moves="0>9", at=at(5), run_id="stale")
    pipeline.load(stale)
    pipeline.replay(stale)
    assert rows(OUTDATED) == []


def window(*records: dict[str, object]) -> bytes:
    return msgspec.json.encode({"transactions": records, "total_transactions": len(records)})


@pytest.mark.parametrize(("hour", "is_marked"), [(0, False), (2, True)], ids=["older than the feed", "newer"])
def test_a_rejected_record_of_a_window_marks_its_row_unless_the_feed_was_read_later(
    pipeline: Pipeline, rows: Rows, account: int, hour: int, *, is_marked: bool
) -> None:
    load_in_turn(pipeline, account, page(added=[transaction()]), page(added=[transaction(transaction_id="other")]))
    pipeline.source = "transactions_get"
    wrong = window(transaction(iso_currency_code="???"))
    pipeline.load(pipeline.seal_pages((account, wrong), moves=">", at=at(hour), run_id="backfill"))
    assert bool(rows(OUTDATED)) == is_marked


def test_the_clock_of_a_worker_does_not_make_a_window_older_than_the_feed(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    load_in_turn(pipeline, account, page(added=[transaction()]), page(added=[transaction(transaction_id="other")]))
    pipeline.source = "transactions_get"
    wrong = pipeline.seal_pages(
        (account, window(transaction(iso_currency_code="???"))),
        moves=">",
        at=at(-5),
        opened_at=at(2),
        sealed_at=at(2),
        run_id="backfill",
    )
    pipeline.load(wrong)
    assert [outdated_at for _, outdated_at in rows(OUTDATED)] == [at(2)]


@pytest.fixture
def accounts(pipeline: Pipeline) -> Pipeline:
    return replace(pipeline, entity=ACCOUNTS, source="accounts_get")


def test_a_rejected_balance_marks_its_account_until_the_next_snapshot(
    accounts: Pipeline, rows: Rows, account: int
) -> None:
    wrong = account_record(balances={"current": 1, "iso_currency_code": "???"})
    bodies = [snapshot(account_record(), account_record(account_id="b")), snapshot(wrong), snapshot(account_record())]
    batches = [
        accounts.seal_pages((account, body), moves=">", at=at(number), run_id=str(number))
        for number, body in enumerate(bodies)
    ]
    query = "select account_id, outdated_at from core.accounts where outdated_at is not null"
    for batch in batches[:2]:
        accounts.load(batch)
    assert rows(query) == [("a", at(1))]
    accounts.load(batches[2])
    assert rows(query) == []
    assert rows(REJECTS) == [("a", False, batches[2])]
    accounts.replay(batches[1])
    assert rows(query) == []


def test_a_reject_of_a_snapshot_that_is_loaded_after_a_later_one_marks_no_account(
    accounts: Pipeline, rows: Rows, account: int
) -> None:
    accounts.load(accounts.seal_pages((account, snapshot(account_record())), moves=">", at=at(0), run_id="0"))
    wrong = snapshot(account_record(balances={"current": 1, "iso_currency_code": "???"}))
    late = accounts.seal_pages((account, wrong), moves=">", at=at(1), run_id="1")
    accounts.load(accounts.seal_pages((account, snapshot(account_record(account_id="b"))), at=at(2), run_id="2"))
    accounts.load(late)
    assert rows("select account_id from core.accounts where outdated_at is not null") == []


def test_a_merchant_is_closed_by_a_record_of_any_login(pipeline: Pipeline, rows: Rows, account: int) -> None:
    (other,) = pipeline.enrol("two")

    def named(name: str) -> bytes:
        return page(added=[transaction(counterparties=[{"entity_id": "m", "name": name}])])

    merchants = replace(pipeline, entity=replace(MERCHANTS, always_tolerated=20))
    merchants.load(merchants.seal_pages((account, named("")), run_id="0"))
    second = merchants.seal_pages((other, named("Deli")), run_id="1", at=LATER)
    merchants.load(second)
    assert rows("select record_id, closed_by from etl.rejects where entity = 'merchants'") == [("m", second)]


@pytest.mark.parametrize("is_first_batch", [True, False])
def test_a_correction_that_is_rejected_on_the_same_page_marks_the_row(
    pipeline: Pipeline, rows: Rows, account: int, *, is_first_batch: bool
) -> None:
    body = page(added=[transaction(amount=1)], modified=[transaction(iso_currency_code="???")])
    load_in_turn(pipeline, account, *([body] if is_first_batch else [page(added=[transaction()]), body]))
    assert [outdated_at for _, outdated_at in rows(OUTDATED)] == [at(0 if is_first_batch else 1)]
    assert rows("select closed_at from etl.rejects") == [(None,)]
