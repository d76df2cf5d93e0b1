from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pandas as pd
import pyarrow as pa
import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.entity import Entity
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.rows import Block, HookMovesRows, Reject, build_table
from tests.unit.sync.samples import page, transaction

BITCOIN = {"iso_currency_code": None, "unofficial_currency_code": "BTC"}
RECEIVED = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def typed_page(body: bytes, entity: Entity = TRANSACTIONS) -> tuple[pa.Table, list[Reject]]:
    block = Block(entity)
    block.add(
        PageDecoder(entity, "transactions_sync").decode(body), provider_account_id=7, line=3, received_at=RECEIVED
    )
    return build_table(block)


def test_values_keep_their_exact_types() -> None:
    table, rejects = typed_page(
        page(added=[transaction(amount=msgspec.Raw(b"123456789012345678.0123456789"), **BITCOIN)])
    )
    (row,) = table.to_pylist()
    assert rejects == []
    assert row["amount"] == Decimal("123456789012345678.0123456789")
    assert row["dated_on"] == date(2026, 11, 20)
    assert row["dated_at"] == datetime(2026, 11, 20, 11, 1, 1, tzinfo=UTC)
    assert row["authorized_at"] is None
    assert row["pending"] is False
    assert (row["provider_account_id"], row["observed_at"], row["removed"]) == (7, RECEIVED, False)


@pytest.mark.parametrize("amount", [b"1e18", b"-1e30", b"0.12345678901", b'"NaN"', b'"Infinity"', b"1e400"])
def test_money_that_the_column_cannot_hold_exactly_is_rejected_and_never_rounded(amount: bytes) -> None:
    table, rejects = typed_page(page(added=[transaction(), transaction(amount=msgspec.Raw(amount))]))
    assert table.num_rows == 1
    assert [(reject.line, reject.fault.path, reject.fault.rule) for reject in rejects] == [
        (3, "added[1].amount", "type")
    ]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("iso_currency_code", "XYZ", "iso4217"),
        ("iso_currency_code", "usd", "iso4217"),
        ("transaction_id", "  ", "not_empty"),
        ("name", "x" * 2_001, "max_length"),
        ("name", "nul\x00nul", "nul"),
        ("datetime", "0001-01-01T00:00:00+01:00", "type"),
        ("datetime", "9999-12-31T23:59:59-01:00", "type"),
        ("transaction_id", "x" * 257, "max_length"),
        ("iso_currency_code", None, "exactly_one"),
        ("unofficial_currency_code", "BTC", "exactly_one"),
        ("amount", msgspec.Raw(b"72.105"), "minor_units"),
        ("amount", msgspec.Raw(b"999999999999999999.999"), "minor_units"),
    ],
)
def test_a_row_that_breaks_a_rule_is_rejected_with_the_field_and_the_rule(field: str, value: object, rule: str) -> None:
    table, rejects = typed_page(page(added=[transaction(), transaction(**{field: value}), transaction()]))
    assert table["seq"].to_pylist() == [0, 2]
    ((path, broken_rule),) = [(reject.fault.path, reject.fault.rule) for reject in rejects]
    assert broken_rule == rule
    assert path.startswith("added[1].")


@pytest.mark.parametrize(
    "name", ["café 🥐", "zero\u200bwidth", 'quote " and , comma', "back\\slash", "\\N", "line\nbreak"]
)
def test_text_of_any_alphabet_is_unchanged(name: str) -> None:
    table, rejects = typed_page(page(added=[transaction(name=name)]))
    assert table["description"].to_pylist() == [name]
    assert rejects == []


def test_removals_come_after_the_upserts_of_their_page() -> None:
    table, _ = typed_page(
        page(removed=[{"transaction_id": "r", "account_id": "a"}], added=[transaction()], modified=[transaction()])
    )
    assert table["removed"].to_pylist() == [False, False, True]
    assert table["seq"].to_pylist() == [0, 1, 2]
    assert table["amount"].to_pylist()[2] is None


def test_a_hook_changes_rows_before_they_are_checked() -> None:
    def upper(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(currency=frame["currency"].str.upper())

    table, rejects = typed_page(page(added=[transaction(iso_currency_code="eur")]), replace(TRANSACTIONS, hook=upper))
    assert table["currency"].to_pylist() == ["EUR"]
    assert rejects == []


def test_a_fault_rejects_its_own_row_even_after_a_hook() -> None:
    def upper(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(currency=frame["currency"].str.upper())

    codes = ("eur", "???", "usd")
    records = [transaction(transaction_id=code, iso_currency_code=code) for code in codes]
    table, rejects = typed_page(page(added=records), replace(TRANSACTIONS, hook=upper))
    assert table["currency"].to_pylist() == ["EUR", "USD"]
    assert [reject.fault.path for reject in rejects] == ["added[1].iso_currency_code"]


def test_a_hook_that_moves_rows_is_refused() -> None:
    records = [transaction(transaction_id="a"), transaction(transaction_id="b")]
    with pytest.raises(HookMovesRows, match="transactions: its hook dropped, added or moved rows"):
        typed_page(page(added=records), replace(TRANSACTIONS, hook=lambda frame: frame.iloc[::-1]))


def test_an_empty_block_gives_an_empty_table_of_the_same_columns() -> None:
    table, rejects = typed_page(page())
    assert table.num_rows == 0
    assert "amount" in table.column_names
    assert rejects == []


@pytest.mark.parametrize(
    ("amount", "currency"), [(b"1200", "JPY"), (b"1200.00", "JPY"), (b"0.001", "KWD"), (b"-3.10", "EUR")]
)
def test_an_amount_with_the_decimals_of_its_currency_passes(amount: bytes, currency: str) -> None:
    _, rejects = typed_page(page(added=[transaction(amount=msgspec.Raw(amount), iso_currency_code=currency)]))
    assert rejects == []


def test_blanks_in_merchant_names_are_collapsed() -> None:
    body = page(added=[transaction(counterparties=[{"entity_id": "m", "name": "  The \t Deli\n"}])])
    block = Block(MERCHANTS)
    block.add(
        PageDecoder(MERCHANTS, "transactions_sync").decode(body), provider_account_id=1, line=0, received_at=RECEIVED
    )
    table, _ = build_table(block)
    assert table["name"].to_pylist() == ["The Deli"]
