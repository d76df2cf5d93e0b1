"""A run against the sandbox bank, from the plan to the core table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import httpx
import msgspec
import pyarrow as pa
import pytest

from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.chunking import Chunk
from etl.sync import transform
from etl.sync.logins.store import provider_accounts
from etl.sync.report import report
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[object, ...]]]


def read_amounts_from_bank(pipeline: Pipeline) -> dict[str, Decimal]:
    """Return transaction id → amount, read from the bank in pages of another size, by another client."""
    amounts: dict[str, Decimal] = {}
    accounts = provider_accounts.read_pages(pipeline.db, Chunk(0, 2**62), provider="plaid", feed="none")
    headers = {"PLAID-CLIENT-ID": pipeline.endpoint.login, "PLAID-SECRET": pipeline.endpoint.password}
    with httpx.Client(base_url=pipeline.endpoint.host, headers=headers, trust_env=False) as client:
        for account in (account for page in accounts for account in page):
            token = pipeline.cipher.decrypt(account.access_token, provider_account_id=account.provider_account_id)
            cursor, more = "", True
            while more:
                request = {"access_token": token, "cursor": cursor, "count": 37}
                answer = msgspec.json.decode(client.post("/transactions/sync", json=request).content)
                for record in answer["added"]:
                    amounts[record["transaction_id"]] = Decimal(str(record["amount"]))
                cursor, more = answer["next_cursor"], answer["has_more"]
    return amounts


def test_a_run_loads_exactly_the_transactions_of_the_bank(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.link(12)
    pipeline.entity = replace(pipeline.entity, chunk_size=5)
    counts = pipeline.run("first")
    loaded = {str(key): amount for key, amount in rows("select transaction_id, amount from core.transactions")}
    expected = read_amounts_from_bank(pipeline)
    assert len(counts) == 3
    assert loaded == expected
    assert sum(count.inserted for count in counts) == len(expected) > 500


def test_a_second_run_rewrites_no_row_and_moves_no_cursor(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.link(4)
    pipeline.run("first")
    state = (
        "select xmin::text, ctid::text from core.transactions union all select xmin::text, ctid::text from etl.cursors"
    )
    before = Counter(rows(state))
    (counts,) = pipeline.run("second")
    assert (counts.inserted, counts.updated, counts.read) == (0, 0, 0)
    assert Counter(rows(state)) == before


def test_reading_everything_again_changes_nothing(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.link(3)
    (first,) = pipeline.run("first")
    state = "select xmin::text, ctid::text from core.transactions"
    before = Counter(rows(state))
    pipeline.db.execute("update etl.cursors set value = ''")
    (second,) = pipeline.run("second")
    assert (second.inserted, second.updated, second.unchanged) == (0, 0, first.inserted)
    assert Counter(rows(state)) == before


def test_a_step_that_runs_twice_gives_the_same_result(pipeline: Pipeline, rows: Rows) -> None:
    pipeline.link(2)
    pipeline.plan("run")
    pipeline.download("run")
    raw_id = pipeline.store_raw("run")
    assert pipeline.store_raw("run") == raw_id
    pipeline.transform(raw_id)
    typed = {path: path.read_bytes() for path in (pipeline.root / "typed").rglob("*.arrow")}
    pipeline.transform(raw_id)
    assert {path: path.read_bytes() for path in (pipeline.root / "typed").rglob("*.arrow")} == typed
    counts = pipeline.load(raw_id)
    assert pipeline.load(raw_id) == counts
    assert rows("select count(*) from core.transactions") == [(counts.inserted,)]


def test_landing_files_are_removed_once_they_are_sealed(pipeline: Pipeline) -> None:
    pipeline.link(1)
    pipeline.plan("run")
    pipeline.download("run")
    pipeline.download("run")
    assert len(list((pipeline.root / "landing").rglob("manifest.jsonl"))) == 2
    pipeline.store_raw("run")
    assert [path for path in (pipeline.root / "landing").rglob("*") if path.is_file()] == []
    assert list((pipeline.root / "drafts").iterdir()) == []


def test_an_account_of_many_pages_moves_its_cursor_once_from_its_first_page_to_its_last(
    pipeline: Pipeline, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.link(3)
    pipeline.entity = replace(pipeline.entity, source=replace(TRANSACTIONS_SYNC, page_size=20))
    monkeypatch.setattr(transform, "BLOCK_SIZE", 25)
    (first,) = pipeline.run("first")
    assert first.inserted == len(read_amounts_from_bank(pipeline))
    assert rows("select pages > 6, accounts from etl.raw_batches") == [(True, 3)]
    (moves,) = (pipeline.root / "typed").rglob("cursors.arrow")
    assert [move["cursor_from"] for move in pa.ipc.open_file(moves.path).read_all().to_pylist()] == ["", "", ""]
    (second,) = pipeline.run("second")
    assert (second.read, second.stale) == (0, 0)


def test_a_report_warns_of_cursors_that_the_provider_may_soon_forget(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    old, *_ = pipeline.link(2)
    pipeline.run("run")
    report(pipeline.entity, "run", db=pipeline.db)
    assert caplog.text == ""
    pipeline.db.execute(
        "update etl.cursors set moved_at = now() - interval '340 days' where provider_account_id = %s", [old]
    )
    report(pipeline.entity, "run", db=pipeline.db)
    assert "1 cursors of transactions_sync have not moved for 334 days, and the provider forgets" in caplog.text
