"""A feed whose cursor leads nowhere is read from its beginning, and what it does not tell any more ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.sync.store import cursors
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
MUTATION = refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
ENDED = "select transaction_id, removed_for from core.transactions order by 1"


def dated(identifier: str, date: str, **fields: object) -> dict[str, object]:
    return transaction(transaction_id=identifier, date=date, **fields)


FIRST = page(
    added=[dated("kept", "2026-11-01"), dated("gone", "2026-11-02"), dated("ancient", "2024-01-01")], next_cursor="c1"
)
WHOLE = page(added=[dated("kept", "2026-11-01"), dated("new", "2026-11-20")], next_cursor="c9")


@pytest.fixture
def account(moody: Pipeline, scripted: ScriptedBank) -> int:
    """Return an account that was loaded once."""
    (account,) = moody.enrol("one")
    scripted.script("one", FIRST)
    moody.run("first")
    return account


def test_a_mutation_that_does_not_pass_ends_in_a_whole_reading(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, account: int
) -> None:
    scripted.script("one", *[MUTATION] * 6, WHOLE)
    (counts,) = moody.run("second")
    assert (counts.inserted, counts.unchanged, counts.removed) == (1, 1, 0)
    assert [asked.get("cursor", "") for asked in scripted.requests["one"]] == ["", *["c1"] * 6, ""]
    assert rows(ENDED) == [("ancient", None), ("gone", "absent"), ("kept", None), ("new", None)]
    assert rows("select value, reread from etl.cursors") == [("c9", False)]


def test_a_whole_reading_that_mutates_too_is_left_out(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, account: int
) -> None:
    scripted.script("one", MUTATION)
    with pytest.raises(Exception, match="TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"):
        moody.run("second")
    assert len(scripted.requests["one"]) == 1 + 2 * 6
    assert rows("select value from etl.cursors") == [("c1",)]


def test_a_person_can_ask_for_a_whole_reading_once(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, account: int
) -> None:
    assert cursors.request_full_read(moody.db, [account, 99], feeds=["transactions_sync"]) == [account]
    scripted.script("one", WHOLE, page(next_cursor="c9"))
    moody.run("second")
    moody.run("third")
    assert [asked.get("cursor", "") for asked in scripted.requests["one"]] == ["", "", "c9"]
    assert ("gone", "absent") in rows(ENDED)


def test_nothing_ends_in_an_account_with_a_rejected_record_which_might_be_it(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, account: int
) -> None:
    cursors.request_full_read(moody.db, [account], feeds=["transactions_sync"])
    body = page(added=[dated("kept", "2026-11-01"), dated("gone", "2026-11-02", amount="?")], next_cursor="c9")
    scripted.script("one", body)
    moody.run("second")
    assert rows(ENDED) == [("ancient", None), ("gone", None), ("kept", None)]


def test_what_ended_by_a_whole_reading_stays_so_when_an_older_batch_is_replayed(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows, account: int
) -> None:
    cursors.request_full_read(moody.db, [account], feeds=["transactions_sync"])
    scripted.script("one", WHOLE)
    moody.run("second")
    before = rows(ENDED)
    moody.db.execute("delete from core.transactions where transaction_id = 'gone'")
    moody.replay(1)
    assert rows(ENDED) == before
