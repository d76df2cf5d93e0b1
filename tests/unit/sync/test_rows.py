from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.check import ExactlyOne, MaxLength
from etl.declare.entity import Column, ColumnType, Entity
from etl.sync.records.blocks import Block
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.rows import HookMovesRows, Reject, TypedRows, build_table
from tests.unit.sync.samples import page, transaction

BITCOIN = {"iso_currency_code": None, "unofficial_currency_code": "BTC"}
RECEIVED = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def typed_rows(body: bytes, entity: Entity = TRANSACTIONS) -> TypedRows:
    block = Block(entity)
    (source, *_) = entity.sources
    block.add(PageDecoder(entity, source).decode(body), provider_account_id=7, line=3, received_at=RECEIVED)
    return build_table(block)


def typed_page(body: bytes, entity: Entity = TRANSACTIONS) -> tuple[pa.Table, list[Reject]]:
    table, rejects, warned = typed_rows(body, entity)
    assert warned == []
    return table, rejects


def accounts_page(*accounts: dict[str, object]) -> bytes:
    return msgspec.json.encode({"accounts": accounts})


def warnings_of(rows: TypedRows) -> list[tuple[str, str, str]]:
    return [(each.path, each.rule, each.found) for record in rows.warned for each in record.warnings]


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


@pytest.mark.parametrize(
    ("amount", "rule"),
    [
        *((text, "type") for text in (b"1e18", b"-1e30", b'"NaN"', b'"sNaN"', b'"Infinity"', b"1e400", b"9" * 5_000)),
        *((text, "minor_units") for text in (b"0.12345678901", b"1." + b"1" * 5_000, b"72.10000001")),
    ],
)
def test_money_that_the_column_or_the_currency_cannot_hold_exactly_is_rejected(amount: bytes, rule: str) -> None:
    table, rejects = typed_page(page(added=[transaction(), transaction(amount=msgspec.Raw(amount))]))
    assert table.num_rows == 1
    assert [(reject.line, reject.fault.path, reject.fault.rule) for reject in rejects] == [(3, "added[1].amount", rule)]


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("iso_currency_code", "XYZ", "iso4217"),
        ("iso_currency_code", "usd", "iso4217"),
        ("transaction_id", "  ", "not_empty"),
        ("iso_currency_code", "HRK", "iso4217"),
        ("iso_currency_code", 7, "type"),
        ("unofficial_currency_code", "nul\x00nul", "nul"),
        ("transaction_id", "nul\x00nul", "nul"),
        ("transaction_id", "x" * 257, "max_length"),
        ("iso_currency_code", None, "exactly_one"),
        ("unofficial_currency_code", "BTC", "exactly_one"),
        ("amount", msgspec.Raw(b"72.105"), "minor_units"),
        ("amount", msgspec.Raw(b"999999999999999999.999"), "minor_units"),
    ],
)
def test_a_row_that_breaks_a_rule_is_rejected_with_the_field_and_the_rule(field: str, value: object, rule: str) -> None:
    body = page(added=[transaction(), transaction(**{field: value}), transaction()])
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body).faults
    table, rejects = typed_page(body)
    assert table.num_rows == 2
    ((path, broken_rule),) = [(fault.path, fault.rule) for fault in (*decoded, *(each.fault for each in rejects))]
    assert broken_rule == rule
    assert path.startswith("added[1].")


@pytest.mark.parametrize(
    ("field", "value", "column", "warning"),
    [
        ("name", "x y" * 700, "description", ("name", "max_length", "x y" * 33 + "…")),
        ("name", "nul\x00nul", "description", ("name", "nul", "nul\\0nul")),
        ("name", 7, "description", ("name", "type", "7")),
        (
            "pending_transaction_id",
            "x" * 257,
            "pending_transaction_id",
            ("pending_transaction_id", "max_length", "xxxx…"),
        ),
        ("payment_channel", ["online"], "payment_channel", ("payment_channel", "type", '["online"]')),
        ("datetime", "", "dated_at", ("datetime", "type", '""')),
        ("datetime", "2026-11-23T10:00:00", "dated_at", ("datetime", "type", '"2026-11-23T10:00:00"')),
        ("datetime", "2026-11-20T23:59:60Z", "dated_at", ("datetime", "type", '"2026-11-20T23:59:60Z"')),
        ("datetime", "0001-01-01T00:00:00+01:00", "dated_at", ("datetime", "type", "0001-01-01 00:00:00+01:00")),
        ("datetime", "9999-12-31T23:59:59-01:00", "dated_at", ("datetime", "type", "9999-12-31 23:59:59-01:00")),
        (
            "authorized_date",
            "2026-11-19T00:00:00Z",
            "authorized_on",
            ("authorized_date", "type", '"2026-11-19T00:00:00Z"'),
        ),
        ("personal_finance_category", "FOOD", "category", ("personal_finance_category", "type", '"FOOD"')),
        (
            "personal_finance_category",
            {"primary": 7, "detailed": "FOOD"},
            "category",
            ("personal_finance_category.primary", "type", "7"),
        ),
    ],
)
def test_a_bad_optional_field_is_null_with_a_warning_and_its_row_and_siblings_stay(
    field: str, value: object, column: str, warning: tuple[str, str, str]
) -> None:
    rows = typed_rows(page(added=[transaction(), transaction(**{field: value}), transaction()]))
    assert rows.rejects == []
    assert rows.table["seq"].to_pylist() == [0, 1, 2]
    assert rows.table[column].to_pylist()[1] is None
    other_columns = [name for name in rows.table.column_names if name not in ("seq", column, "category_detail")]
    first, second, _ = rows.table.select(other_columns).to_pylist()
    assert first == second
    path, rule, found = warning
    assert warnings_of(rows) == [(f"added[1].{path}", rule, found)]
    assert [(record.provider_account_id, record.line) for record in rows.warned] == [(7, 3)]


def test_the_good_fields_of_an_object_with_a_bad_one_are_kept() -> None:
    rows = typed_rows(page(added=[transaction(personal_finance_category={"primary": 7, "detailed": "FOOD"})]))
    assert rows.table["category_detail"].to_pylist() == ["FOOD"]


def test_a_rejected_record_has_no_field_warnings_besides() -> None:
    rows = typed_rows(
        page(added=[transaction(datetime="", iso_currency_code="???"), transaction(datetime="", date="")])
    )
    assert (len(rows.rejects), rows.warned, rows.table.num_rows) == (1, [], 0)


@pytest.mark.parametrize(
    ("amount", "currency", "stored", "found"),
    [
        (b"4.220000000000001", "USD", "4.22", "4.220000000000001"),
        (b"-4.219999999999999", "USD", "-4.22", "-4.219999999999999"),
        (b"12345678.900000002", "USD", "12345678.9", "12345678.9000000020"),
        (b"1200.0000000000002", "JPY", "1200", "1200.0000000000002"),
        (b"0.0010000000000000002", "KWD", "0.001", "0.0010000000000000002"),
        (b"1e-999999999", "USD", "0", "1E-999999999"),
        (b"0.30000000000000004", "BTC", "0.3", "0.30000000000000004"),
    ],
)
def test_an_amount_with_binary_noise_is_rounded_with_a_warning(
    amount: bytes, currency: str, stored: str, found: str
) -> None:
    code = {"iso_currency_code": currency} if len(currency) == 3 and currency != "BTC" else BITCOIN
    rows = typed_rows(page(added=[transaction(), transaction(amount=msgspec.Raw(amount), **code), transaction()]))
    assert rows.rejects == []
    assert rows.table["amount"].to_pylist() == [Decimal("72.1"), Decimal(stored), Decimal("72.1")]
    assert warnings_of(rows) == [("added[1].amount", "noise", found)]


@pytest.mark.parametrize("amount", [b"1.1" + b"0" * 40, b"1.1" + b"0" * 5_000, b'"1.10"', b"110e-2"])
def test_an_amount_is_what_it_says_however_it_is_written(amount: bytes) -> None:
    table, rejects = typed_page(page(added=[transaction(amount=msgspec.Raw(amount))]))
    assert (table["amount"].to_pylist(), rejects) == ([Decimal("1.1")], [])


@pytest.mark.parametrize("amount", [b"0", b"-0", b"-0e-999999", b"0e999999999", b"0e20", b"0." + b"0" * 5_000])
def test_zero_is_zero_however_it_is_written(amount: bytes) -> None:
    table, rejects = typed_page(page(added=[transaction(amount=msgspec.Raw(amount)), transaction()]))
    assert (table["amount"].to_pylist()[0], rejects) == (Decimal(0), [])


def test_money_in_a_former_currency_loads_if_it_is_dated_while_it_was_tender() -> None:
    records = [
        transaction(transaction_id=f"{code} {day}", iso_currency_code=code, date=day, amount=72)
        for code, day in (("HRK", "2022-06-30"), ("HRK", "2024-01-10"), ("HRK", "2024-02-01"), ("BYR", "2016-01-01"))
    ]
    table, rejects = typed_page(page(added=records))
    assert table["transaction_id"].to_pylist() == ["HRK 2022-06-30", "HRK 2024-01-10", "BYR 2016-01-01"]
    assert [reject.fault.reason for reject in rejects] == ["found currency 'HRK', dated_on '2024-02-01'"]


def account(**balances: object) -> dict[str, object]:
    return {"account_id": "a", "balances": {"current": 10, "iso_currency_code": "USD", **balances}}


@pytest.mark.parametrize(
    ("balances", "rule"),
    [
        ({"iso_currency_code": "XYZ"}, "iso4217"),
        ({"unofficial_currency_code": "BTC"}, "exactly_one"),
        ({"iso_currency_code": None}, "exactly_one"),
    ],
)
def test_an_account_whose_money_has_no_single_currency_is_rejected(balances: dict[str, object], rule: str) -> None:
    _, rejects = typed_page(accounts_page(account(**balances)), ACCOUNTS)
    assert [reject.fault.rule for reject in rejects] == [rule]


@pytest.mark.parametrize("currency", ["BGN", "HRK", "BYR", "LTL", "VEF", "ZWL", "EEK", "DEM", "ANG", "SLL", "MRO"])
def test_an_account_may_be_in_any_currency_that_ever_was(currency: str) -> None:
    table, rejects = typed_page(accounts_page(account(iso_currency_code=currency)), ACCOUNTS)
    assert (table["currency"].to_pylist(), rejects) == ([currency], [])


@pytest.mark.parametrize("field", ["current", "available", "limit"])
@pytest.mark.parametrize(
    ("amount", "rule"), [(b"10.5", "minor_units"), (b"1e99", "type"), (b"10.12345678901", "minor_units")]
)
def test_a_balance_that_its_currency_cannot_have_is_null_with_a_warning(field: str, amount: bytes, rule: str) -> None:
    body = accounts_page(account(**{field: msgspec.Raw(amount)}, iso_currency_code="JPY"), account())
    rows = typed_rows(body, ACCOUNTS)
    assert rows.rejects == []
    assert rows.table[f"balance_{field}"].to_pylist()[0] is None
    assert [warning[:2] for warning in warnings_of(rows)] == [(f"accounts[0].balances.{field}", rule)]


def test_a_balance_with_binary_noise_is_rounded() -> None:
    rows = typed_rows(accounts_page(account(current=msgspec.Raw(b"4.220000000000001"))), ACCOUNTS)
    assert rows.table["balance_current"].to_pylist() == [Decimal("4.22")]
    assert [warning[1] for warning in warnings_of(rows)] == ["noise"]


def test_an_account_without_name_and_type_loads() -> None:
    table, rejects = typed_page(accounts_page(account()), ACCOUNTS)
    assert (table["name"].to_pylist(), table["type"].to_pylist(), rejects) == ([None], [None], [])


def with_text(entity: Entity, column: Column, text: str) -> bytes:
    """Return a page with one record, which has a text in a column."""
    record = transaction() if entity is TRANSACTIONS else account()
    *parents, name = column.path_parts
    innermost: dict[str, Any] = record
    for parent in parents:
        innermost[parent] = dict(innermost.get(parent) or {})
        innermost = innermost[parent]
    innermost[name] = text
    return page(added=[record]) if entity is TRANSACTIONS else accounts_page(record)


@pytest.mark.parametrize(
    ("entity", "column"),
    [
        pytest.param(entity, column, id=f"{entity.name}.{column.name}")
        for entity in (TRANSACTIONS, ACCOUNTS)
        for column in entity.columns
        if column.kind is ColumnType.TEXT
    ],
)
def test_no_text_is_longer_than_its_column_says(entity: Entity, column: Column) -> None:
    unchecked = replace(entity, checks=())
    whole = "x" * column.max_length
    table, rejects = typed_page(with_text(entity, column, whole), unchecked)
    assert (table[column.name].to_pylist(), rejects) == ([whole], [])
    rows = typed_rows(with_text(entity, column, whole + "x"), unchecked)
    if entity.may_drop(column):
        assert [rule for _, rule, _ in warnings_of(rows)] == ["max_length"]
        assert rows.table[column.name].to_pylist() == [None]
    else:
        assert [reject.fault.rule for reject in rows.rejects] == ["max_length"]


def test_a_check_of_a_missing_value_still_rejects_the_row() -> None:
    either = ExactlyOne(("merchant_name", "merchant_entity_id"))
    entity = replace(TRANSACTIONS, checks=(either,))
    rows = typed_rows(page(added=[transaction(merchant_name=None, merchant_entity_id=None), transaction()]), entity)
    assert [reject.fault.rule for reject in rows.rejects] == ["exactly_one"]
    assert rows.table.select(["merchant_name", "merchant_entity_id"]).to_pylist() == [
        {"merchant_name": None, "merchant_entity_id": transaction()["merchant_entity_id"]}
    ]


def test_later_checks_see_what_earlier_ones_left() -> None:
    either = ExactlyOne(("merchant_entity_id", "merchant_name"))
    entity = replace(TRANSACTIONS, checks=(MaxLength("merchant_name", 3), either))
    rows = typed_rows(page(added=[transaction(merchant_name="long", merchant_entity_id="m")]), entity)
    assert warnings_of(rows) == [("added[0].merchant_name", "max_length", "long")]
    assert rows.table["merchant_entity_id"].to_pylist() == ["m"]


def test_a_reject_says_which_record_it_is_and_which_it_replaces() -> None:
    bad = [
        transaction(transaction_id="t1", iso_currency_code="???", pending_transaction_id="p1"),
        transaction(transaction_id="  "),
        transaction(transaction_id="x" * 2_000),
        transaction(transaction_id="nul\x00"),
    ]
    _, rejects = typed_page(page(added=bad))
    first, *others = (reject.identity for reject in rejects)
    assert (first.record_id, first.replaces) == ("t1", "p1")
    assert all(other.record_id.startswith("sha256:") and other.replaces is None for other in others)
    assert len({other.record_id for other in others}) == 3
    again = [reject.identity for reject in typed_page(page(added=bad[1:]))[1]]
    assert again == others
    assert {reject.observed_at for reject in rejects} == {RECEIVED}


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
    table, _ = typed_page(body, MERCHANTS)
    assert table["name"].to_pylist() == ["The Deli"]
