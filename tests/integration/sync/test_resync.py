"""A feed whose cursor is unusable is read in full, and rows that it no longer contains are removed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.errors import ProviderRefused, ProviderUnavailable
from etl.sync.store import cursors
from etl.sync.store.landing import Landing
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
MUTATION = refusal("TRANSACTIONS_ERROR", "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION")
REMOVALS = "select transaction_id, removed_for from core.transactions order by 1"


def dated(identifier: str, date: str, **fields: object) -> dict[str, object]:
    return transaction(transaction_id=identifier, date=date, **fields)


FIRST = page(
    added=[dated("kept", "2026-11-01"), dated("gone", "2026-11-02"), dated("ancient", "2024-01-01")], next_cursor="c1"
)
FULL_READ = page(added=[dated("kept", "2026-11-01"), dated("new", "2026-11-20")], next_cursor="c9")


@pytest.fixture
def account(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> int:
    """Return an account that was loaded once."""
    (account,) = scripted_pipeline.enrol("one")
    scripted_bank.script("one", FIRST)
    scripted_pipeline.run("first")
    return account


def test_a_persistent_mutation_error_leads_to_a_full_read(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int
) -> None:
    scripted_bank.script("one", *[MUTATION] * 6, FULL_READ)
    (counts,) = scripted_pipeline.run("second")
    assert (counts.inserted, counts.unchanged, counts.removed) == (1, 1, 0)
    assert [request.get("cursor", "") for request in scripted_bank.requests["one"]] == ["", *["c1"] * 6, ""]
    assert rows(REMOVALS) == [("ancient", None), ("gone", "absent"), ("kept", None), ("new", None)]
    assert rows("select value, reread from etl.cursors") == [("c9", False)]


def test_an_account_whose_full_read_mutates_too_keeps_its_cursor(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int
) -> None:
    scripted_bank.script("one", MUTATION)
    with pytest.raises(Exception, match="TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"):
        scripted_pipeline.run("second")
    assert len(scripted_bank.requests["one"]) == 1 + 2 * 6
    assert rows("select value from etl.cursors") == [("c1",)]


LOST = refusal("INVALID_REQUEST", "INVALID_FIELD")


@pytest.mark.parametrize("pages_before", [0, 1], ids=["at once", "in the middle"])
def test_a_lost_cursor_leads_to_a_full_read_at_once(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int, pages_before: int
) -> None:
    rows("update etl.cursors set generation = 7 returning 1")
    more = page(added=[dated("half", "2026-11-19")], next_cursor="c2", has_more=True)
    scripted_bank.script("one", *[more] * pages_before, LOST, FULL_READ)
    scripted_pipeline.plan("second")
    scripted_pipeline.download("second")
    ((header, _),) = Landing(scripted_pipeline.root, 2, 1).read()
    assert (header.cursor_from, header.cursor_to, header.whole, header.generation) == ("c1", "c9", True, 7)
    assert [request.get("cursor", "") for request in scripted_bank.requests["one"]] == [
        "",
        "c1",
        *["c2"] * pages_before,
        "",
    ]
    counts = scripted_pipeline.load(scripted_pipeline.transform(scripted_pipeline.store_raw("second")))
    assert (counts.inserted, counts.unchanged) == (1, 1)
    assert rows(REMOVALS) == [("ancient", None), ("gone", "absent"), ("kept", None), ("new", None)]


def test_a_cursor_that_is_lost_during_a_full_read_restarts_it(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int
) -> None:
    more = page(added=[dated("half", "2026-11-19")], next_cursor="c8", has_more=True)
    scripted_bank.script("one", LOST, more, LOST, FULL_READ)
    scripted_pipeline.run("second")
    assert [request.get("cursor", "") for request in scripted_bank.requests["one"]] == ["", "c1", "", "c8", ""]
    assert rows("select value from etl.cursors") == [("c9",)]


def test_a_cursor_that_is_lost_during_a_first_read_restarts_it(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("new")
    more = page(added=[dated("half", "2026-11-19")], next_cursor="c8", has_more=True)
    scripted_bank.script("new", more, LOST, FULL_READ)
    scripted_pipeline.run("run")
    assert rows("select value, reread from etl.cursors") == [("c9", False)]
    assert [request.get("cursor", "") for request in scripted_bank.requests["new"]] == ["", "c8", ""]


def test_an_invalid_field_of_a_request_without_a_cursor_is_refused(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", LOST)
    with pytest.raises(ProviderRefused, match="/transactions/sync answered INVALID_FIELD, HTTP 400"):
        scripted_pipeline.run("run")
    assert len(scripted_bank.requests["one"]) == 1


def test_a_cursor_that_is_always_lost_keeps_its_value(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int
) -> None:
    more = page(added=[dated("half", "2026-11-19")], next_cursor="c8", has_more=True)
    answers: list[bytes | Answer] = [more, LOST]
    scripted_bank.script("one", LOST, *answers * 6)
    with pytest.raises(ProviderUnavailable, match="INVALID_FIELD"):
        scripted_pipeline.run("second")
    assert len(scripted_bank.requests["one"]) == 2 + 2 * 6
    assert rows("select value from etl.cursors") == [("c1",)]


def test_a_requested_full_read_happens_once(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int
) -> None:
    assert cursors.request_full_read(scripted_pipeline.db, [account, 99], feeds=["transactions_sync"]) == [account]
    scripted_bank.script("one", FULL_READ, page(next_cursor="c9"))
    scripted_pipeline.run("second")
    scripted_pipeline.run("third")
    assert [request.get("cursor", "") for request in scripted_bank.requests["one"]] == ["", "", "c9"]
    assert ("gone", "absent") in rows(REMOVALS)


def test_a_full_read_with_a_reject_removes_no_row_since_the_reject_might_be_that_row(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int
) -> None:
    cursors.request_full_read(scripted_pipeline.db, [account], feeds=["transactions_sync"])
    body = page(added=[dated("kept", "2026-11-01"), dated("gone", "2026-11-02", amount="?")], next_cursor="c9")
    scripted_bank.script("one", body)
    scripted_pipeline.run("second")
    assert rows(REMOVALS) == [("ancient", None), ("gone", None), ("kept", None)]


def test_a_row_removed_by_a_full_read_stays_removed_when_an_older_batch_is_replayed(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, account: int
) -> None:
    cursors.request_full_read(scripted_pipeline.db, [account], feeds=["transactions_sync"])
    scripted_bank.script("one", FULL_READ)
    scripted_pipeline.run("second")
    before = rows(REMOVALS)
    scripted_pipeline.db.execute("delete from core.transactions where transaction_id = 'gone'")
    scripted_pipeline.replay(1)
    assert rows(REMOVALS) == before
