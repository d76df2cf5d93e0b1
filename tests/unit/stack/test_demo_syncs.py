"""Which entities the demo runs, and how it shows what they did."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from dev.demo.results import run_table
from dev.demo.syncs import served_entities
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import ACCOUNTS_GET, PLAID, TRANSACTIONS_SYNC

SERVED = ["/accounts/get", "/transactions/sync"]
COUNTS = {
    name: dict.fromkeys(
        ("read", "inserted", "updated", "unchanged", "removed", "superseded", "stale", "rejected", "quarantined"), 0
    )
    for name in ("accounts", "transactions", "merchants", "standing_orders", "card_transactions", "investments")
}


def names(*entities: object, provider: str = "plaid", paths: list[str] = SERVED) -> list[str]:
    return [entity.name for entity in served_entities(entities, provider=provider, paths=paths)]  # type: ignore[arg-type]


def test_all_entities_that_the_sandbox_serves_are_run() -> None:
    assert names(ACCOUNTS, TRANSACTIONS, MERCHANTS) == ["accounts", "transactions", "merchants"]


def test_an_entity_of_another_provider_is_not_run() -> None:
    other = replace(ACCOUNTS, name="others", provider=replace(PLAID, name="other"))
    assert names(ACCOUNTS, other) == ["accounts"]


def test_an_entity_whose_endpoint_the_sandbox_lacks_is_not_run() -> None:
    other = replace(ACCOUNTS, name="others", source=replace(ACCOUNTS_GET, path="/accounts/balance/get"))
    assert names(ACCOUNTS, other) == ["accounts"]


def test_an_entity_that_waits_for_one_that_is_not_run_is_not_run_either() -> None:
    other = replace(TRANSACTIONS, source=replace(TRANSACTIONS_SYNC, path="/elsewhere"))
    assert names(ACCOUNTS, other, MERCHANTS) == ["accounts"]


def test_the_records_of_many_entities_fit_into_80_columns_one_entity_a_row() -> None:
    counts = {name: {**each, "read": 123_456, "inserted": 123_456, "unchanged": 9} for name, each in COUNTS.items()}
    console = Console(file=StringIO(), width=500)
    console.print(run_table(counts))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    (row,) = (line for line in lines if "card_transactions" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["card_transactions", "123,456", "123,456", "9"]
