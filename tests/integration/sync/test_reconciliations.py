"""Reconciliations of full reads: many rows end only after approval, none for good, and what was skipped is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.errors import RawPurged
from etl.sync.report import report
from etl.sync.resync import NothingToDecide, approve, revoke
from etl.sync.store import reconciliations
from etl.sync.store.reconciliations import must_wait
from tests.integration.sync.full_reads import ALL, FEW, MANY, SENT, Login, Row, case_of, live, load_login, read_in_full
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def waiting(pipeline: Pipeline) -> Login:
    """Return a login of which six of seven rows are absent."""
    return read_in_full(pipeline, case_of(*MANY))


@pytest.fixture
def ended(pipeline: Pipeline) -> Login:
    """Return a login of which one of two rows ended as absent."""
    return read_in_full(pipeline, case_of(FEW[0]))


def test_a_login_that_is_read_on_from_its_cursor_loses_no_row_to_the_full_read_of_another(pipeline: Pipeline) -> None:
    case = case_of(FEW[0])
    login = load_login(pipeline, case)
    change = transaction(transaction_id="new", account_id="a", date="2020-01-01")
    login.load((login.account, case.full_read()), (login.other, page(added=[change])), hours=1, moves="a>b")
    others = replace(login, account=login.other)
    assert (live(login), live(others)) == ({"t1"}, {"t0", "t1", "new"})
    assert login.reconciliation().absent == 1


@pytest.mark.parametrize(("live", "absent", "waits"), [(10, 5, False), (10, 6, True), (60, 6, False), (59, 6, True)])
def test_more_than_a_handful_and_a_tenth_wait(live: int, absent: int, *, waits: bool) -> None:
    assert must_wait(TRANSACTIONS, live=live, absent=absent) == waits


def test_a_read_whose_rows_wait_loads_everything_else_and_moves_the_cursor(waiting: Login, rows: Rows) -> None:
    assert reconciliations.count_pending(waiting.pipeline.db) == 1
    assert rows("select value from etl.cursors where provider_account_id = %s", waiting.account) == [("b",)]
    assert len(live(waiting)) == 7


def test_a_row_that_changed_since_the_read_is_not_ended_by_an_approval(waiting: Login) -> None:
    changed = waiting.case.record(0, name="CHANGED")
    waiting.load((waiting.account, page(modified=[changed])), hours=2, moves="b>c")
    waiting.decide(approve)
    assert live(waiting) == {"t0", "t6"}
    assert reconciliations.count_pending(waiting.pipeline.db) == 0


def test_an_approval_of_a_purged_read_says_so_and_changes_nothing(waiting: Login) -> None:
    waiting.pipeline.db.execute("update etl.raw_batches set purged_at = now()")
    with pytest.raises(RawPurged):
        waiting.decide(approve)
    assert waiting.reconciliation().state == "pending"


def test_a_pending_reconciliation_that_is_revoked_keeps_the_rows(waiting: Login) -> None:
    waiting.decide(revoke)
    assert waiting.reconciliation().state == "revoked"
    waiting.pipeline.replay(waiting.batches[-1])
    assert len(live(waiting)) == 7
    with pytest.raises(NothingToDecide, match="no row waits for approval"):
        waiting.decide(approve)


def test_a_login_without_anything_to_decide_keeps_the_others_undecided(waiting: Login) -> None:
    pipeline = waiting.pipeline
    with pytest.raises(NothingToDecide, match=f"provider accounts {waiting.other}: no row waits"):
        approve(
            [waiting.account, waiting.other],
            entities={"transactions": TRANSACTIONS},
            db=pipeline.db,
            root=pipeline.root,
        )
    assert waiting.reconciliation().state == "pending"


def test_a_later_read_takes_the_place_of_one_that_waits(waiting: Login) -> None:
    everything = [waiting.case.record(number) for number in range(len(waiting.case.rows))]
    waiting.load((waiting.account, page(added=everything)), hours=2, moves="b>c")
    waiting.pipeline.db.execute("update etl.cursors set reread = true")
    raw_id = waiting.pipeline.seal_pages(
        (waiting.account, page(added=everything)),
        run_id="again",
        at=FIRST + timedelta(hours=3),
        moves="c>d",
        whole=True,
    )
    waiting.pipeline.load(raw_id)
    assert (waiting.reconciliation().state, waiting.reconciliation().absent) == ("applied", 0)
    assert reconciliations.count_pending(waiting.pipeline.db) == 0


def test_a_removal_that_came_after_the_read_ends_a_row_that_is_brought_back(ended: Login) -> None:
    ended.load((ended.account, page(removed=[{"transaction_id": "t0"}])), hours=2, moves="b>c")
    ended.decide(revoke)
    assert ended.states()["t0"] == ("withdrawn",)


def test_a_row_that_came_back_by_itself_is_not_touched_by_a_revocation(ended: Login) -> None:
    ended.load((ended.account, page(added=[ended.case.record(0, name="BACK")])), hours=2, moves="b>c")
    before = ended.states(ALL)
    ended.decide(revoke)
    assert ended.states(ALL) == before


def test_a_row_that_came_back_by_itself_and_is_absent_again_ends_again_without_approval(ended: Login) -> None:
    ended.load((ended.account, page(added=[ended.case.record(0)])), hours=2, moves="b>c")
    assert live(ended) == {"t0", "t1"}
    read = ended.pipeline.seal_pages(
        (ended.account, ended.case.full_read()), run_id="again", at=FIRST + timedelta(hours=3), moves="c>d", whole=True
    )
    ended.pipeline.load(read)
    assert (ended.reconciliation().state, live(ended)) == ("applied", {"t1"})


def test_a_row_that_a_person_brought_back_is_ended_again_only_after_approval(ended: Login) -> None:
    ended.decide(revoke)
    read = ended.pipeline.seal_pages(
        (ended.account, ended.case.full_read()), run_id="again", at=datetime.now(UTC), moves="b>c", whole=True
    )
    ended.pipeline.load(read)
    assert (ended.reconciliation().state, live(ended)) == ("pending", {"t0", "t1"})
    ended.decide(approve)
    assert live(ended) == {"t1"}


def test_a_later_read_from_before_the_decision_does_not_end_a_row_again(ended: Login) -> None:
    read = ended.pipeline.seal_pages(
        (ended.account, ended.case.full_read()), run_id="again", at=FIRST + timedelta(hours=3), moves="b>c", whole=True
    )
    ended.pipeline.load(read)
    ended.decide(revoke)
    for raw_id in (*ended.batches, read):
        ended.pipeline.replay(raw_id)
    assert live(ended) == {"t0", "t1"}


def test_a_lost_row_that_ended_ends_again_although_few_rows_are_live_now(pipeline: Pipeline) -> None:
    sent = tuple(replace(SENT, age=age % 700) for age in range(60))
    login = read_in_full(pipeline, case_of(*MANY, *sent))
    assert len(live(login)) == 61
    removed: list[dict[str, object]] = [{"transaction_id": f"t{number}"} for number in range(6, 60)]
    login.load((login.account, page(removed=removed)), hours=2, moves="b>c")
    after = login.states(ALL)
    pipeline.db.execute("delete from core.transactions where provider_account_id = %s", [login.account])
    for raw_id in login.batches:
        pipeline.replay(raw_id)
    assert login.states(ALL) == after


@pytest.mark.parametrize("row", [Row("a", 1, "held"), Row("a", 731, "held"), Row("b", 1, "held")])
def test_a_hold_whose_posted_record_is_rejected_is_held_by_a_full_read_and_ends_with_the_reject(
    pipeline: Pipeline, row: Row
) -> None:
    login = read_in_full(pipeline, case_of(row))
    assert login.states("transaction_id, removed_for, outdated_at is not null")["t0"] == (None, True)
    login.load((login.account, page(removed=[{"transaction_id": "p0"}])), hours=2, moves="b>c")
    assert login.states()["t0"] == ("withdrawn",)


def test_a_read_whose_login_was_stale_reconciles_nothing(pipeline: Pipeline, rows: Rows) -> None:
    login = load_login(pipeline, case_of(FEW[0]))
    login.load((login.account, page()), hours=1, moves="a>z")
    stale = login.load((login.account, login.case.full_read()), hours=2, moves="a>b")
    pipeline.replay(stale)
    assert rows("select count(*) from etl.reconciliations") == [(0,)]
    assert len(live(login)) == 2


def test_the_report_of_a_run_says_what_waits_and_what_was_skipped(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    login = load_login(pipeline, case_of(*MANY, Row("b", 1, "absent")))
    raw_id = pipeline.seal_pages(
        (login.account, login.case.full_read()), run_id="reported", at=LATER, moves="a>b", whole=True
    )
    pipeline.load(raw_id)
    caplog.clear()
    report(pipeline.entity, "reported", db=pipeline.db)
    (line,) = [line for line in caplog.messages if "resync --show" in line]
    assert line.startswith(
        f"transactions: raw batch {raw_id}: provider account {login.account}: 6 of 8 live rows are absent and wait for "
        "approval; not reconciled: 1 row: account b is not in the read"
    )


def test_an_account_that_a_read_does_not_mention_is_named_up_to_a_limit(pipeline: Pipeline) -> None:
    login = read_in_full(pipeline, case_of(*(Row(f"account {number:02}", 1, "absent") for number in range(30))))
    skipped = login.reconciliation().skipped or ""
    assert "1 row: account account 00 is not in the read; 1 row: account account 01" in skipped
    assert skipped.count("not in the read") == reconciliations.MAX_REASONS
