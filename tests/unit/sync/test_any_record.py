"""Records of any content: no value crashes a step, and a bad value of an optional field costs only that field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.entity import Column, ColumnType, Entity
from etl.sync.records.blocks import Block
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.rows import TypedRows, build_table
from tests.unit.sync.samples import page, transaction

NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.sampled_from(["0", "1", "72", "9" * 18, "9" * 19, "1" * 400, "1" * 5_000]),
    st.sampled_from(["", ".0", ".5", ".22", ".220000000000001", "." + "0" * 60 + "1", "." + "3" * 5_000]),
    st.sampled_from(
        ["", "e0", "e5", "e17", "e-12", "e-400", "e400", "e-10000000", "e999999999", "E-999999999", "e-" + "9" * 30]
    ),
).map(lambda text: msgspec.Raw(text.encode()))
TEXTS = st.text() | st.sampled_from(
    ["\0", "x" * 5_000, "NaN", "sNaN", "-Infinity", "1_0", "2026-02-30", "2026-11-20T23:59:60Z", "0000-00-00"]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
RECEIVED = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def optional(entity: Entity) -> list[tuple[str, ...]]:
    """Return the paths of fields whose bad value must not cost the row, and of objects that hold only such fields."""
    paths = {
        column.path_parts[:length]: None
        for column in entity.columns
        if column.levels_up == 0 and entity.may_drop(column)
        for length in range(1, len(column.path_parts) + 1)
    }
    kept = [column.path_parts for column in entity.columns if not entity.may_drop(column)]
    return [path for path in paths if all(each[: len(path)] != path for each in kept)]


def changed(record: Mapping[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Return a record with another value at a path."""
    head, *below = path
    return {**record, head: changed(record.get(head) or {}, tuple(below), value) if below else value}


def typed(entity: Entity, body: bytes) -> TypedRows:
    (source, *_) = entity.sources
    block = Block(entity)
    decoded = PageDecoder(entity, source).decode(body)
    assert decoded.rejected == []
    block.add(decoded, provider_account_id=7, line=0, received_at=RECEIVED)
    return build_table(block)


ACCOUNT = {"account_id": "a", "name": "Checking", "balances": {"current": 10, "iso_currency_code": "USD"}}
SAMPLES: dict[str, tuple[Entity, Mapping[str, Any]]] = {
    TRANSACTIONS.name: (TRANSACTIONS, transaction()),
    ACCOUNTS.name: (ACCOUNTS, ACCOUNT),
    MERCHANTS.name: (MERCHANTS, {"entity_id": "m", "name": "Deli"}),
}


def body_of(entity: Entity, record: object) -> bytes:
    if entity is MERCHANTS:
        return page(added=[transaction(counterparties=[record])])
    return page(added=[record]) if entity is TRANSACTIONS else msgspec.json.encode({"accounts": [record]})  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, (entity, _) in SAMPLES.items() for path in optional(entity)], ids=str
)
@settings(max_examples=60, deadline=None)
@given(value=ANY_JSON)
@example(value=msgspec.Raw(b"[" * 100_000 + b"]" * 100_000))
@example(value=msgspec.Raw(b"1e-999999999"))
def test_any_value_of_an_optional_field_leaves_the_row_and_all_its_other_fields(
    name: str, path: tuple[str, ...], value: object
) -> None:
    entity, record = SAMPLES[name]
    rows = typed(entity, body_of(entity, changed(record, path, value)))
    assert rows.rejects == []
    (row,) = rows.table.to_pylist()
    (before,) = typed(entity, body_of(entity, record)).table.to_pylist()
    others = [column.name for column in entity.columns if column.path_parts[: len(path)] != path]
    assert {name: row[name] for name in others} == {name: before[name] for name in others}
    for warned in rows.warned:
        assert all(len(each.found) <= 100 and "\0" not in each.found for each in warned.warnings)


@settings(max_examples=400, deadline=None)
@given(amount=NUMBERS, currency=st.sampled_from(["USD", "JPY", "KWD", "XAU", None]))
@example(amount=msgspec.Raw(b"1e-999999999"), currency="USD")
@example(amount=msgspec.Raw(b"1e999999999"), currency="USD")
@example(amount=msgspec.Raw(b"-0e-999999"), currency="USD")
def test_any_number_as_an_amount_is_loaded_within_a_millionth_of_its_minor_unit_or_rejected(
    amount: msgspec.Raw, currency: str | None
) -> None:
    unofficial = "BTC" if currency is None else None
    record = transaction(amount=amount, iso_currency_code=currency, unofficial_currency_code=unofficial)
    block = Block(TRANSACTIONS)
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(page(added=[record]))
    block.add(decoded, provider_account_id=7, line=0, received_at=RECEIVED)
    rows = build_table(block)
    assert len(decoded.rejected) + len(rows.rejects) + rows.table.num_rows == 1
    for stored in rows.table["amount"].to_pylist():
        sent = Decimal(bytes(amount).decode())
        if abs(sent) < Decimal("1e-30"):
            assert stored == 0
        else:
            assert abs(sent - stored) < Decimal("1e-6")
            assert bool(rows.warned) == (sent != stored)


INTEGER = Column("number", ColumnType.INTEGER, path="number", required=False)


@settings(max_examples=200, deadline=None)
@given(value=ANY_JSON)
@example(value=msgspec.Raw(b"9223372036854775808"))
@example(value=msgspec.Raw(b"1" * 5_000))
def test_any_value_of_an_optional_integer_leaves_the_row(value: object) -> None:
    entity = Entity(**{**vars(TRANSACTIONS), "columns": (*TRANSACTIONS.columns, INTEGER)})
    rows = typed(entity, page(added=[transaction(number=value)]))
    assert (rows.rejects, rows.table.num_rows) == ([], 1)
