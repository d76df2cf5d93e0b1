"""How rows end: by a removal, by a posted transaction, and not while a reject leaves it open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import pytest

from etl.declare.check import MaxLength
from tests.integration.sync.pipeline import FIRST, Pipeline
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
