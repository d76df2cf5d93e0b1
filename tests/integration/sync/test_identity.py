"""A transaction is identified by its id within a login; the account is an attribute, which may change."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from etl.sync.replay import start_dry_run
from etl.sync.store import before_image, staging
from tests.integration.sync.pipeline import LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
ROWS = "select transaction_id, account_id, amount::int, removed_for from core.transactions order by 1, 2"
STATE = "select * from core.transactions order by provider_account_id, transaction_id"


def of(account_id: str, **fields: object) -> dict[str, object]:
    return transaction(**{"transaction_id": "t", "account_id": account_id, "amount": 1, **fields})


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    """Return a login with a transaction of its account `old`."""
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[of("old")])), moves=">a"))
    return account


def test_a_record_under_another_account_moves_the_row(pipeline: Pipeline, rows: Rows, account: int) -> None:
    moved = pipeline.seal_pages((account, page(modified=[of("new", amount=2)])), moves="a>b", at=LATER)
    assert pipeline.load(moved).updated == 1
    assert rows(ROWS) == [("t", "new", 2, None)]


def test_a_row_that_only_changes_its_account_moves(pipeline: Pipeline, rows: Rows, account: int) -> None:
    pipeline.load(pipeline.seal_pages((account, page(modified=[of("new")])), moves="a>b", at=LATER))
    assert rows(ROWS) == [("t", "new", 1, None)]


@pytest.mark.parametrize(
    "removal",
    [
        {"transaction_id": "t"},
        {"transaction_id": "t", "account_id": "other"},
        {"transaction_id": "t", "account_id": None},
        {"transaction_id": "t", "account_id": ""},
        {"transaction_id": "t", "account_id": 7},
    ],
    ids=str,
)
def test_a_removal_ends_the_row_whatever_account_it_names(
    pipeline: Pipeline, rows: Rows, account: int, removal: dict[str, object]
) -> None:
    counts = pipeline.load(pipeline.seal_pages((account, page(removed=[removal])), moves="a>b", at=LATER))
    assert (counts.removed, counts.rejected) == (1, 0)
    assert rows(ROWS) == [("t", "old", 1, "withdrawn")]


@pytest.mark.parametrize("has_few_rows", [False, True], ids=["rows looked up by key", "rows read at once"])
@pytest.mark.parametrize("is_one_page", [False, True], ids=["two pages", "one page"])
def test_the_last_record_of_an_id_wins_whichever_account_it_names(
    pipeline: Pipeline,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    account: int,
    *,
    is_one_page: bool,
    has_few_rows: bool,
) -> None:
    monkeypatch.setattr(staging, "has_few_existing_rows", lambda *_, **__: has_few_rows)
    first, last = of("new", transaction_id="u"), of("newer", transaction_id="u", amount=2)
    bodies = [page(added=[first, last])] if is_one_page else [page(added=[first]), page(added=[last])]
    counts = pipeline.load(pipeline.seal_pages(*((account, body) for body in bodies), moves="a>b", at=LATER))
    assert (counts.inserted, counts.superseded) == (1, 1)
    assert rows(ROWS) == [("t", "old", 1, None), ("u", "newer", 2, None)]


def test_a_window_moves_a_row_to_another_account(pipeline: Pipeline, rows: Rows, account: int) -> None:
    pipeline.source = "transactions_get"
    window = msgspec.json.encode({"transactions": [of("new", amount=2)], "total_transactions": 1})
    pipeline.load(pipeline.seal_pages((account, window), moves=">", at=LATER, run_id="backfill"))
    assert rows(ROWS) == [("t", "new", 2, None)]


def test_replays_in_any_order_keep_a_row_in_its_last_account(pipeline: Pipeline, rows: Rows, account: int) -> None:
    second = pipeline.seal_pages((account, page(modified=[of("new")])), moves="a>b", at=LATER)
    pipeline.load(second)
    before = rows(STATE)
    for raw_id in (second, 1, second):
        pipeline.replay(raw_id)
    assert rows(STATE) == before
    pipeline.db.execute("delete from core.transactions")
    pipeline.replay(1)
    assert rows(STATE) == before


def test_a_dry_run_shows_the_account_as_a_changed_value(pipeline: Pipeline, account: int) -> None:
    pipeline.db.execute("update core.transactions set account_id = 'wrong'")
    with start_dry_run(pipeline.entity, db=pipeline.db) as dry_run:
        pipeline.replay(1, dry_run=dry_run)
        (change,), _ = before_image.changed_rows(pipeline.db, pipeline.entity, limit=10)
    assert change.before is not None
    assert (change.before["account_id"], change.after["account_id"]) == ("wrong", "old")


def test_a_full_read_moves_a_row_and_ends_none(pipeline: Pipeline, rows: Rows, account: int) -> None:
    body = page(added=[of("new"), of("old", transaction_id="u")])
    pipeline.load(pipeline.seal_pages((account, body), moves="a>b", at=LATER, whole=True))
    assert rows(ROWS) == [("t", "new", 1, None), ("u", "old", 1, None)]
