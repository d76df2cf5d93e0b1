"""How rows end: by a removal, by a posted transaction, and not while a reject leaves it open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.declare.check import MaxLength
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.integration.sync.test_entities import account as account_record
from tests.integration.sync.test_entities import snapshot
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
ENDS = "select transaction_id, removed_for from core.transactions order by 1"
STATE = "select * from core.transactions order by provider_account_id, transaction_id"
HOLD = transaction(transaction_id="hold", pending=True)
POSTED = transaction(transaction_id="posted", pending_transaction_id="hold")
BAD_POSTED = {**POSTED, "iso_currency_code": "???"}
REMOVED_HOLD: dict[str, object] = {"transaction_id": "hold"}
REMOVED_POSTED: dict[str, object] = {"transaction_id": "posted"}
OUTDATED = "select transaction_id, outdated_at from core.transactions where outdated_at is not null"
REJECTS = "select record_id, closed_at is null, closed_by from etl.rejects order by 1"


def at(hours: int) -> datetime:
    return FIRST + timedelta(hours=hours)


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


def load_in_turn(pipeline: Pipeline, account: int, *bodies: bytes) -> list[int]:
    """Load each page as a batch of its own, an hour after the one before; return their ids."""
    raw_ids = []
    for number, body in enumerate(bodies):
        move = f"{number or ''}>{number + 1}"
        raw_ids.append(pipeline.seal_pages((account, body), moves=move, at=at(number), run_id=f"run {number}"))
        pipeline.load(raw_ids[-1])
    return raw_ids


def test_a_hold_that_is_removed_before_its_posted_transaction_comes_ends_as_posted(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    bodies = page(added=[HOLD]), page(removed=[REMOVED_HOLD]), page(added=[POSTED])
    load_in_turn(pipeline, account, *bodies[:2])
    assert rows(ENDS) == [("hold", "withdrawn")]
    pipeline.load(pipeline.seal_pages((account, bodies[2]), moves="2>3", at=at(2), run_id="last"))
    assert rows(ENDS) == [("hold", "posted"), ("posted", None)]
    assert rows("select removed_at from core.transactions where pending") == [(at(1),)]


def test_a_hold_that_was_absent_before_its_posted_transaction_comes_ends_as_posted(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    load_in_turn(pipeline, account, page(added=[HOLD]))
    full_read = page(added=[transaction(transaction_id="other")])
    pipeline.load(pipeline.seal_pages((account, full_read), moves="1>2", at=at(1), run_id="full", whole=True))
    assert rows(ENDS) == [("hold", "absent"), ("other", None)]
    pipeline.load(pipeline.seal_pages((account, page(added=[POSTED])), moves="2>3", at=at(2), run_id="last"))
    assert rows(ENDS) == [("hold", "posted"), ("other", None), ("posted", None)]


@pytest.mark.parametrize("lost", ["nothing", "hold", "posted", "all"])
def test_any_order_of_replays_ends_a_hold_as_the_first_loads_did(
    pipeline: Pipeline, rows: Rows, account: int, lost: str
) -> None:
    batches = load_in_turn(pipeline, account, page(added=[HOLD]), page(removed=[REMOVED_HOLD]), page(added=[POSTED]))
    before = rows(STATE)
    for order in permutations(batches):
        pipeline.db.execute("delete from core.transactions where %(lost)s in (transaction_id, 'all')", {"lost": lost})
        for batch in order:
            pipeline.replay(batch)
        assert rows(STATE) == before


def test_a_hold_that_only_its_posted_transaction_ended_ends_again_after_it_was_lost(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    corrected = transaction(transaction_id="hold", pending=True, amount=9)
    first, *_ = load_in_turn(pipeline, account, page(added=[HOLD]), page(modified=[corrected]), page(added=[POSTED]))
    before = rows(STATE)
    pipeline.db.execute("delete from core.transactions where transaction_id = 'hold'")
    pipeline.replay(first)
    assert rows(STATE) == before
    assert rows(ENDS) == [("hold", "posted"), ("posted", None)]


def test_the_posted_transaction_of_another_login_ends_no_hold(pipeline: Pipeline, rows: Rows, account: int) -> None:
    (other,) = pipeline.enrol("two")
    load_in_turn(pipeline, account, page(added=[HOLD]))
    pipeline.load(pipeline.seal_pages((other, page(added=[POSTED])), run_id="other"))
    assert rows(ENDS) == [("hold", None), ("posted", None)]
    removal = pipeline.seal_pages((account, page(removed=[REMOVED_HOLD])), moves="1>2", at=at(1), run_id="removal")
    pipeline.load(removal)
    assert rows(ENDS) == [("hold", "withdrawn"), ("posted", None)]


def test_a_posted_transaction_that_was_removed_before_does_not_make_a_hold_posted(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    batches = load_in_turn(
        pipeline,
        account,
        page(added=[POSTED]),
        page(removed=[REMOVED_POSTED]),
        page(added=[HOLD]),
        page(removed=[REMOVED_HOLD]),
    )
    assert rows(ENDS) == [("hold", "withdrawn"), ("posted", "withdrawn")]
    for batch in batches:
        pipeline.replay(batch)
    assert rows(ENDS) == [("hold", "withdrawn"), ("posted", "withdrawn")]


def test_a_hold_that_a_later_reversal_of_its_posted_transaction_brings_back_lives(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    reversal = page(added=[HOLD], removed=[REMOVED_POSTED])
    load_in_turn(pipeline, account, page(added=[HOLD]), page(added=[POSTED], removed=[REMOVED_HOLD]), reversal)
    assert rows(ENDS) == [("hold", None), ("posted", "withdrawn")]


def test_a_hold_that_the_same_read_lists_beside_its_posted_transaction_lives(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    first, _, full_read = load_in_turn(
        pipeline, account, page(added=[POSTED]), page(added=[HOLD]), page(added=[HOLD, POSTED])
    )
    assert rows(ENDS) == [("hold", None), ("posted", None)]
    for batch in (full_read, first):
        pipeline.replay(batch)
    assert rows(ENDS) == [("hold", None), ("posted", None)]


def test_a_rejected_posted_transaction_does_not_let_its_hold_vanish(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    load_in_turn(pipeline, account, page(added=[HOLD]), page(added=[BAD_POSTED], removed=[REMOVED_HOLD]))
    assert rows(ENDS) == [("hold", None)]
    assert rows(OUTDATED) == [("hold", at(1))]
    assert rows("select removed, unchanged, rejected from etl.loads order by raw_id desc limit 1") == [(0, 1, 1)]


def test_a_hold_is_held_if_the_reject_and_the_removal_come_in_different_batches(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    load_in_turn(pipeline, account, page(added=[HOLD]), page(added=[BAD_POSTED]), page(removed=[REMOVED_HOLD]))
    assert (rows(ENDS), rows(OUTDATED)) == ([("hold", None)], [("hold", at(2))])


def test_a_removal_is_held_only_for_a_reject_of_its_own_login(pipeline: Pipeline, rows: Rows, account: int) -> None:
    (other,) = pipeline.enrol("two")
    pipeline.load(pipeline.seal_pages((other, page(added=[BAD_POSTED])), run_id="other"))
    load_in_turn(pipeline, account, page(added=[HOLD]), page(removed=[REMOVED_HOLD]))
    assert rows(ENDS) == [("hold", "withdrawn")]


@pytest.mark.parametrize("is_lost", [False, True], ids=["kept", "lost"])
def test_a_hold_ends_as_posted_once_its_posted_transaction_is_loaded_by_a_retry(
    pipeline: Pipeline, rows: Rows, account: int, *, is_lost: bool
) -> None:
    declared = pipeline.entity
    pipeline.entity = replace(declared, checks=(MaxLength("transaction_id", len("hold")),))
    corrected = {**HOLD, "amount": 3}
    first, second, *_ = load_in_turn(
        pipeline,
        account,
        page(added=[HOLD]),
        page(added=[POSTED]),
        page(modified=[corrected]),
        page(removed=[REMOVED_HOLD]),
    )
    assert rows(ENDS) == [("hold", None)]
    pipeline.entity = declared
    if is_lost:
        pipeline.db.execute("delete from core.transactions")
        pipeline.replay(first)
    pipeline.replay(second)
    assert rows(ENDS) == [("hold", "posted"), ("posted", None)]
    assert rows("select amount::int, outdated_at from core.transactions where pending") == [(3, None)]


def test_a_hold_ends_as_posted_once_its_posted_transaction_is_loaded_from_a_later_batch(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    batches = load_in_turn(
        pipeline, account, page(added=[HOLD]), page(added=[BAD_POSTED], removed=[REMOVED_HOLD]), page(added=[POSTED])
    )
    assert (rows(ENDS), rows(OUTDATED)) == ([("hold", "posted"), ("posted", None)], [])
    assert rows(REJECTS) == [("posted", False, batches[2])]
    for batch in batches:
        pipeline.replay(batch)
    assert (rows(ENDS), rows(OUTDATED)) == ([("hold", "posted"), ("posted", None)], [])
    assert rows(REJECTS) == [("posted", False, batches[2])]


def test_a_hold_ends_as_withdrawn_once_its_rejected_posted_transaction_is_removed(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    removal = page(removed=[REMOVED_POSTED])
    load_in_turn(pipeline, account, page(added=[HOLD]), page(added=[BAD_POSTED], removed=[REMOVED_HOLD]), removal)
    assert rows("select removed_for, removed_at, outdated_at from core.transactions") == [("withdrawn", at(1), None)]


def test_a_hold_whose_removal_was_never_reported_outlives_its_reject(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    removal = page(removed=[REMOVED_POSTED])
    load_in_turn(pipeline, account, page(added=[HOLD]), page(added=[BAD_POSTED]), removal)
    assert rows(ENDS) == [("hold", None)]


def test_a_removal_that_comes_after_the_reject_was_closed_ends_the_hold(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    bodies = page(added=[HOLD]), page(added=[BAD_POSTED]), page(removed=[REMOVED_POSTED]), page(removed=[REMOVED_HOLD])
    load_in_turn(pipeline, account, *bodies)
    assert rows(ENDS) == [("hold", "withdrawn")]


def test_a_hold_is_held_until_its_last_reject_is_closed(pipeline: Pipeline, rows: Rows, account: int) -> None:
    second = {**BAD_POSTED, "transaction_id": "second"}
    load_in_turn(
        pipeline,
        account,
        page(added=[HOLD]),
        page(added=[BAD_POSTED, second], removed=[REMOVED_HOLD]),
        page(removed=[REMOVED_POSTED]),
    )
    assert rows(ENDS) == [("hold", None)]
    pipeline.load(pipeline.seal_pages((account, page(removed=[second])), moves="3>4", at=at(3), run_id="last"))
    assert rows(ENDS) == [("hold", "withdrawn")]


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


def test_a_lost_row_is_restored_with_the_mark_of_its_rejected_correction(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    wrong = transaction(iso_currency_code="???")
    first, _ = load_in_turn(pipeline, account, page(added=[transaction()]), page(modified=[wrong]))
    before = rows(STATE)
    pipeline.db.execute("delete from core.transactions")
    pipeline.replay(first)
    assert rows(STATE) == before


def test_a_reject_is_older_than_a_good_record_on_a_later_page(pipeline: Pipeline, rows: Rows, account: int) -> None:
    wrong = transaction(iso_currency_code="???")
    pages = [(account, page(added=[wrong])), (account, page(added=[transaction()]))]
    pipeline.load(pipeline.seal_pages(*pages))
    assert rows("select outdated_at is null from core.transactions") == [(False,)]


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
    from etl.catalog.entities.merchants import MERCHANTS

    (other,) = pipeline.enrol("two")

    def named(name: str) -> bytes:
        return page(added=[transaction(counterparties=[{"entity_id": "m", "name": name}])])

    merchants = replace(pipeline, entity=replace(MERCHANTS, always_tolerated=20))
    merchants.load(merchants.seal_pages((account, named("")), run_id="0"))
    second = merchants.seal_pages((other, named("Deli")), run_id="1", at=LATER)
    merchants.load(second)
    assert rows("select record_id, closed_by from etl.rejects where entity = 'merchants'") == [("m", second)]
