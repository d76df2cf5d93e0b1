"""A change of any declared column is stored, and an update leaves no old value behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.column import Column, ColumnType
from etl.declare.entity import Entity
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
CASES = [(entity, column) for entity in (TRANSACTIONS, ACCOUNTS) for column in entity.columns]
VALUES: dict[ColumnType, tuple[object, object]] = {
    ColumnType.TEXT: ("one", "two"),
    ColumnType.MONEY: (1.5, 2.5),
    ColumnType.DATE: ("2026-11-01", "2026-11-02"),
    ColumnType.INSTANT: ("2026-11-01T08:00:00Z", "2026-11-02T08:00:00Z"),
    ColumnType.BOOLEAN: (False, True),
}
"""Two values that a column of each type may have."""
TOMBSTONE = "select removed_at, removed_for, outdated_at from core.transactions"


def values_of(column: Column) -> tuple[object, object]:
    return ("USD", "EUR") if column.name == "currency" else VALUES[column.kind]


def record(entity: Entity, number: int, **changes: object) -> dict[str, Any]:
    """Return a record with the first or second value in each column but the key, or with given values."""
    fields: dict[str, Any] = {}
    for column in entity.columns:
        value = changes.get(column.name, "key" if column.name in entity.key else values_of(column)[number])
        if column.name == "unofficial_currency" and "unofficial_currency" not in changes:
            value = None
        *objects, name = column.path_parts
        place = fields
        for each in objects:
            place = place.setdefault(each, {})
        place[name] = value
    return fields


def load(
    pipeline: Pipeline,
    account: int,
    entity: Entity,
    sent: dict[str, Any],
    number: int,
    *,
    at: datetime | None = None,
) -> Any:
    if entity is TRANSACTIONS:
        body, source, moves = page(modified=[sent]), "transactions_sync", f"{number or ''}>{number + 1}"
    else:
        body, source, moves = msgspec.json.encode({"accounts": [sent]}), "accounts_get", ">"
    runner = replace(pipeline, entity=entity, source=source)
    at = at or (LATER if number else FIRST)
    return runner.load(runner.seal_pages((account, body), moves=moves, at=at, run_id=f"{account} {number}"))


@pytest.mark.parametrize(("entity", "column"), CASES, ids=lambda each: each.name)
def test_a_change_of_one_column_alone_is_stored(pipeline: Pipeline, rows: Rows, entity: Entity, column: Column) -> None:
    (account,) = pipeline.enrol("one")
    others = {"currency": None} if column.name == "unofficial_currency" else {}
    first, second = values_of(column)
    load(pipeline, account, entity, record(entity, 0, **others, **{column.name: first}), 0)
    query = (
        f"select t.{column.name}::text from core.{entity.name} as t "
        "order by t.raw_id, to_jsonb(t) ->> 'closed_on' is null"
    )
    before = rows(query)
    counts = load(pipeline, account, entity, record(entity, 0, **others, **{column.name: second}), 1)
    assert (counts.updated, counts.inserted) == ((0, 1) if column.name in entity.key else (1, 0))
    assert rows(query)[-1] != before[0]
    assert rows(query)[-1] != (None,)


@pytest.mark.parametrize("entity", [TRANSACTIONS, ACCOUNTS], ids=lambda entity: entity.name)
def test_an_update_writes_every_column_anew(pipeline: Pipeline, rows: Rows, entity: Entity) -> None:
    updated, inserted = pipeline.enrol("updated", "inserted")
    load(pipeline, updated, entity, record(entity, 0), 0)
    load(pipeline, updated, entity, record(entity, 1), 1)
    load(pipeline, inserted, entity, record(entity, 1), 0, at=LATER + timedelta(hours=1))
    names = ", ".join(column.name for column in entity.columns)
    ((one,), (other,)) = rows(f"select ({names})::text from core.{entity.name} order by provider_account_id")
    assert one == other


def test_a_row_that_comes_back_has_no_trace_of_its_end(pipeline: Pipeline, rows: Rows) -> None:
    (account,) = pipeline.enrol("one")
    bodies = page(added=[transaction()]), page(removed=[transaction()]), page(added=[transaction()])
    for number, body in enumerate(bodies):
        moves = f"{number or ''}>{number + 1}"
        pipeline.load(pipeline.seal_pages((account, body), moves=moves, at=LATER, run_id=f"run {number}"))
        assert (rows(TOMBSTONE) == [(None, None, None)]) == (number != 1)
