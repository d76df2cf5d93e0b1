"""Records of any content: no value crashes a step, and a bad value of an optional field costs only that field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from tests.unit.sync.samples import transaction

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


ACCOUNT = {"account_id": "a", "name": "Checking", "balances": {"current": 10, "iso_currency_code": "USD"}}
SAMPLES: dict[str, tuple[Entity, Mapping[str, Any]]] = {
    TRANSACTIONS.name: (TRANSACTIONS, transaction()),
    ACCOUNTS.name: (ACCOUNTS, ACCOUNT),
    MERCHANTS.name: (MERCHANTS, {"entity_id": "m", "name": "Deli"}),
}


DECODERS = {name: PageDecoder(entity, next(iter(entity.sources))) for name, (entity, _) in SAMPLES.items()}


def typed(entity: Entity, body: bytes, decoder: PageDecoder | None = None) -> tuple[int, TypedRows]:
    """Return how many records of a page could not be decoded, and the rows of the others."""
    block = Block(entity)
    decoded = (decoder or DECODERS[entity.name]).decode(body)
    block.add(decoded, provider_account_id=7, line=0, received_at=RECEIVED)
    return len(decoded.rejected), build_table(block)


def body_of(entity: Entity, records: Sequence[object]) -> bytes:
    if entity is ACCOUNTS:
        return msgspec.json.encode({"accounts": records})
    added = [transaction(counterparties=records)] if entity is MERCHANTS else records
    return msgspec.json.encode({"added": added, "modified": [], "removed": []})


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, (entity, _) in SAMPLES.items() for path in optional(entity)], ids=str
)
@settings(max_examples=5, deadline=None)
@given(values=st.lists(ANY_JSON, min_size=10, max_size=30))
@example(values=[msgspec.Raw(b"[" * 50_000 + b"]" * 50_000), msgspec.Raw(b"1e-999999999"), "\0", "x" * 5_000])
def test_any_value_of_an_optional_field_leaves_the_row_and_all_its_other_fields(
    name: str, path: tuple[str, ...], values: list[object]
) -> None:
    entity, record = SAMPLES[name]
    body = body_of(entity, [record, *(changed(record, path, value) for value in values)])
    rejected, rows = typed(entity, body)
    assert (rejected, rows.rejects) == (0, [])
    others = [column.name for column in entity.columns if column.path_parts[: len(path)] != path]
    first, *changed_rows = rows.table.select(others).to_pylist()
    assert changed_rows == [first] * len(values)
    for warned in rows.warned:
        assert all(len(each.found) <= 100 and "\0" not in each.found for each in warned.warnings)


@settings(max_examples=10, deadline=None)
@given(
    amounts=st.lists(NUMBERS, min_size=20, max_size=60), currency=st.sampled_from(["USD", "JPY", "KWD", "XAU", None])
)
@example(
    amounts=[msgspec.Raw(b"1e-999999999"), msgspec.Raw(b"1e999999999"), msgspec.Raw(b"-0e-999999")], currency="USD"
)
def test_any_number_as_an_amount_is_loaded_within_a_millionth_of_its_minor_unit_or_rejected(
    amounts: list[msgspec.Raw], currency: str | None
) -> None:
    code = {"iso_currency_code": currency, "unofficial_currency_code": "BTC" if currency is None else None}
    records = [transaction(transaction_id=str(n), amount=amount, **code) for n, amount in enumerate(amounts)]
    rejected, rows = typed(TRANSACTIONS, body_of(TRANSACTIONS, records))
    assert rejected + len(rows.rejects) + rows.table.num_rows == len(amounts)
    changed_amounts = 0
    for row in rows.table.to_pylist():
        sent = Decimal(bytes(amounts[int(row["transaction_id"])]).decode())
        is_tiny = abs(sent) < Decimal("1e-30")
        assert row["amount"] == 0 if is_tiny else abs(sent - row["amount"]) < Decimal("1e-6")
        changed_amounts += sent != row["amount"]
    assert changed_amounts == len(rows.warned)


INTEGER = Column("number", ColumnType.INTEGER, required=False)
WITH_INTEGER = replace(TRANSACTIONS, columns=(*TRANSACTIONS.columns, INTEGER))
INTEGER_DECODER = PageDecoder(WITH_INTEGER, "transactions_sync")


@settings(max_examples=5, deadline=None)
@given(values=st.lists(ANY_JSON, min_size=20, max_size=60))
@example(values=[msgspec.Raw(b"9223372036854775808"), msgspec.Raw(b"1" * 5_000), msgspec.Raw(b"1e400"), 2**63 - 1])
def test_any_value_of_an_optional_integer_leaves_the_row(values: list[object]) -> None:
    records = [transaction(number=value) for value in values]
    rejected, rows = typed(WITH_INTEGER, body_of(WITH_INTEGER, records), INTEGER_DECODER)
    assert (rejected, rows.rejects, rows.table.num_rows) == (0, [], len(values))
