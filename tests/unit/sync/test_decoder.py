import hashlib
from dataclasses import replace
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import Placeholder
from etl.declare.source import Recent, Snapshot
from etl.sync.records.decoder import DecodedPage, LocatedRecord, PageDecoder, Records
from etl.sync.records.identity import RecordIdentity
from etl.sync.records.structs import column_values, values_by_field
from tests.unit.sync.samples import page, transaction


def value_of(name: str, located: LocatedRecord, entity: Entity = TRANSACTIONS) -> object:
    (column,) = (column for column in entity.columns if column.name == name)
    (value,) = column_values(column, values_by_field([located.records[column.levels_up]]))
    return value


def located_records(records: Records) -> list[LocatedRecord]:
    return [
        LocatedRecord(path, levels)
        for path, levels in zip(records.paths, zip(*records.levels, strict=True), strict=True)
    ]


@pytest.mark.parametrize(
    "amount", ["0.1", "1e3", "12345678901234.0123456789", "-0.005", "999999999999999999.9999999999"]
)
def test_money_is_decoded_exactly_and_never_through_a_float(amount: str) -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(
        page(added=[transaction(amount=msgspec.Raw(amount.encode()))])
    )
    (located,) = located_records(decoded.upserts)
    assert value_of("amount", located) == Decimal(amount)
    assert isinstance(value_of("amount", located), Decimal)


def test_an_invalid_record_is_a_fault_with_its_path_and_its_siblings_are_decoded() -> None:
    body = page(
        added=[transaction(transaction_id="a"), transaction(date="31/12/2026"), transaction(transaction_id="c")]
    )
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body)
    assert [(item.path, value_of("transaction_id", item)) for item in located_records(decoded.upserts)] == [
        ("added[0]", "a"),
        ("added[2]", "c"),
    ]
    assert [(fault.path, fault.rule) for fault in decoded.faults] == [("added[1].date", "type")]


@pytest.mark.parametrize(
    ("field", "value"),
    [("amount", None), ("amount", "ten"), ("account_id", 7), ("pending", "no"), ("date", "2026-11-23T10:00:00Z")],
)
def test_wrong_type_and_missing_value_of_a_required_field_are_faults(field: str, value: object) -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(page(modified=[transaction(**{field: value})]))
    assert [fault.path for fault in decoded.faults] == [f"modified[0].{field}"]


def test_a_required_field_that_is_missing_is_a_fault_at_its_own_path() -> None:
    record = transaction()
    record["posted_date"] = record.pop("date")
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(page(added=[record], removed=[{"account_id": "a"}]))
    assert [(fault.kind, fault.reason) for fault in decoded.faults] == [
        (("added[].date", "type"), "the required field is missing"),
        (("removed[].transaction_id", "type"), "the required field is missing"),
    ]


def test_an_optional_column_is_null_if_an_object_on_its_path_is_missing() -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(
        page(added=[transaction(personal_finance_category=None)])
    )
    (located,) = located_records(decoded.upserts)
    assert value_of("category", located) is None


def test_a_removal_needs_only_the_key() -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(
        page(removed=[{"transaction_id": "t", "account_id": "a"}])
    )
    assert decoded.deletes.paths == ["removed[0]"]
    assert decoded.faults == []


def test_a_removal_without_its_key_is_a_fault() -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(page(removed=[{"account_id": "a"}]))
    assert [fault.path for fault in decoded.faults] == ["removed[0].transaction_id"]


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"added": 3, "modified": [], "removed": []}'])
def test_an_invalid_page_is_a_fault(body: bytes) -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body)
    assert decoded.faults
    assert not decoded.upserts


def decode_merchants(body: bytes) -> DecodedPage:
    return PageDecoder(MERCHANTS, "transactions_sync").decode(body)


def test_nested_records_are_decoded_with_fields_of_their_parent() -> None:
    shop = {"entity_id": "m1", "name": "Deli", "type": "merchant", "website": None}
    bank = {"entity_id": None, "name": "Some bank", "type": "financial_institution"}
    decoded = decode_merchants(page(added=[transaction(counterparties=[bank, shop]), transaction(counterparties=None)]))
    assert decoded.upserts.paths == ["added[0].counterparties[1]"]
    assert value_of("category", located_records(decoded.upserts)[0], MERCHANTS) == "FOOD_AND_DRINK"
    assert decoded.faults == []


def test_an_invalid_nested_record_does_not_affect_its_siblings() -> None:
    good = {"entity_id": "m1", "name": "Deli"}
    decoded = decode_merchants(page(added=[transaction(counterparties=[good, {"entity_id": "m2", "name": 7}, good])]))
    assert decoded.upserts.paths == ["added[0].counterparties[0]", "added[0].counterparties[2]"]
    assert [fault.path for fault in decoded.faults] == ["added[0].counterparties[1].name"]


def test_a_bad_field_of_a_parent_is_null_in_each_of_its_nested_records() -> None:
    good = {"entity_id": "m1", "name": "Deli"}
    body = page(added=[transaction(personal_finance_category="FOOD", counterparties=[good, {**good, "type": 7}])])
    decoded = decode_merchants(body)
    assert (decoded.upserts.paths, decoded.faults) == (["added[0].counterparties[0]", "added[0].counterparties[1]"], [])
    assert [value_of("category", each, MERCHANTS) for each in located_records(decoded.upserts)] == [None, None]
    parent = "added[0].personal_finance_category"
    assert {index: [each.path for each in warnings] for index, warnings in decoded.upserts.warnings.items()} == {
        0: [parent],
        1: ["added[0].counterparties[1].type", parent],
    }


def test_a_bad_record_without_the_field_that_it_must_have_is_skipped_as_a_good_one_is() -> None:
    body = page(added=[transaction(counterparties=[{"entity_id": None, "name": None}, {"name": 7}])])
    decoded = decode_merchants(body)
    assert (len(decoded.upserts), decoded.faults) == (0, [])


def test_a_list_of_records_that_is_none_is_a_fault() -> None:
    decoded = decode_merchants(page(added=[transaction(counterparties="none")]))
    assert [fault.path for fault in decoded.faults] == ["added[0].counterparties"]


@pytest.mark.parametrize("field", ["merchant_name", "personal_finance_category", "unknown"])
def test_a_value_of_any_depth_costs_only_its_field(field: str) -> None:
    deep = msgspec.Raw(b'{"a":' * 50_000 + b"[" * 50_000 + b"]" * 50_000 + b"}" * 50_000)
    body = page(added=[transaction(transaction_id="a", **{field: deep}), transaction(transaction_id="b")])
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body)
    assert [value_of("transaction_id", each) for each in located_records(decoded.upserts)] == ["a", "b"]
    assert decoded.faults == []


def test_text_that_is_not_unicode_costs_no_field() -> None:
    body = page(added=[transaction(name="caf")]).replace(b"caf", rb"caf\ud83d")
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body)
    assert value_of("description", located_records(decoded.upserts)[0]) == "caf\ufffd"
    assert decoded.is_flawless


@pytest.mark.parametrize(
    ("record", "record_id", "replaces"),
    [
        ({"transaction_id": "t", "pending_transaction_id": "p"}, "t", "p"),
        ({"transaction_id": "t", "pending_transaction_id": 7}, "t", None),
        ({"transaction_id": "t", "amount": [[]]}, "t", None),
        ({"transaction_id": None}, None, None),
        ({"transaction_id": 7, "pending_transaction_id": "p"}, None, "p"),
        ({}, None, None),
        (7, None, None),
        (None, None, None),
        ([], None, None),
    ],
)
def test_a_rejected_record_is_identified_by_its_key_or_else_by_its_bytes(
    record: object, record_id: str | None, replaces: str | None
) -> None:
    body = msgspec.json.encode({"added": [record, transaction()], "modified": [], "removed": []})
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body)
    (rejected,) = decoded.rejected
    digest = hashlib.sha256(msgspec.json.encode(record)).hexdigest()
    assert rejected.identity == RecordIdentity(record_id or f"sha256:{digest}", replaces)


def test_the_key_of_a_rejected_record_has_the_columns_of_the_records_above_it() -> None:
    outer = (Column("account_id", ColumnType.TEXT, path="../id"), Column("id", ColumnType.TEXT))
    source = Recent(
        name="list",
        path="/list",
        query={"from": Placeholder.FIRST_DAY},
        upserts=("accounts[].rows[]",),
        days=30,
        dated_by="day",
        account="account_id",
    )
    entity = replace(
        TRANSACTIONS,
        source=source,
        window=None,
        key=("provider_account_id", "account_id", "id"),
        columns=(*outer, Column("day", ColumnType.DATE)),
        currencies=(),
        checks=(),
        replaces=None,
    )
    rows = [{"id": "1", "day": "x"}]
    body = msgspec.json.encode({"accounts": [{"id": "a", "rows": rows}, {"id": 7, "rows": rows}]})
    inner, above = PageDecoder(entity, "list").decode(body).rejected
    assert (inner.fault.path, inner.identity.record_id) == ("accounts[0].rows[0].day", "a\x1f1")
    assert (above.fault.path, above.identity.record_id[:7]) == ("accounts[1].id", "sha256:")


def test_the_key_of_a_rejected_record_has_the_item_id_of_its_login() -> None:
    columns = (Column("id", ColumnType.TEXT, fill=Placeholder.ITEM_ID), Column("opened_on", ColumnType.DATE))
    source = Snapshot(name="account", path="/accounts/{item_id}", upserts=("data.account{}",))
    decoder = PageDecoder(replace(ACCOUNT, source=source, columns=columns), "account")
    (rejected,) = decoder.decode(b'{"data": {"account": {"opened_on": "soon"}}}', item_id="item 1").rejected
    assert rejected.identity.record_id == "item 1"


def test_the_key_of_an_entity_with_several_columns_is_joined() -> None:
    entity = replace(TRANSACTIONS, key=("provider_account_id", "account_id", "transaction_id"), replaces=None)
    decoded = PageDecoder(entity, "transactions_sync").decode(page(added=[transaction(account_id="a", date="")]))
    (rejected,) = decoded.rejected
    assert rejected.identity.record_id == f"a\x1f{transaction()['transaction_id']}"


ACCOUNT = replace(
    TRANSACTIONS,
    name="account",
    source=Snapshot(name="account", path="/account", upserts=("data.account{}",)),
    window=None,
    key=("provider_account_id", "id"),
    columns=(Column("id", ColumnType.TEXT), Column("opened_on", ColumnType.DATE, required=False)),
    currencies=(),
    replaces=None,
    checks=(),
)


def test_a_page_about_one_record_has_this_record() -> None:
    decoded = PageDecoder(ACCOUNT, "account").decode(b'{"data": {"account": {"id": "a", "opened_on": "2026-11-20"}}}')
    ((path, (record,), _),) = located_records(decoded.upserts)
    assert (path, record.id, record.opened_on) == ("data.account", "a", date(2026, 11, 20))  # type: ignore[attr-defined]


def test_a_bad_field_of_the_only_record_of_a_page_is_found_by_its_path() -> None:
    decoded = PageDecoder(ACCOUNT, "account").decode(b'{"data": {"account": {"id": "a", "opened_on": "soon"}}}')
    assert [warning.path for warnings in decoded.upserts.warnings.values() for warning in warnings] == [
        "data.account.opened_on"
    ]
    decoded = PageDecoder(ACCOUNT, "account").decode(b'{"data": {"account": {"id": 7}}}')
    assert [fault.path for fault in decoded.faults] == ["data.account.id"]


def test_a_rejected_record_is_known_by_the_column_that_serves_where_its_key_has_no_value() -> None:
    columns = (
        Column("id", ColumnType.TEXT, otherwise="other"),
        Column("other", ColumnType.TEXT, path="ids.other", required=False, stored=False),
        Column("amount", ColumnType.INTEGER),
    )
    source = Snapshot(name="account", path="/account", upserts=("rows[]",))
    entity = replace(ACCOUNT, columns=columns, source=source)
    body = b'{"rows": [{"ids": {"other": "o"}, "amount": "x"}, {"id": "i", "ids": {"other": "p"}, "amount": "x"}]}'
    rejected = PageDecoder(entity, "account").decode(body).rejected
    assert [each.identity.record_id for each in rejected] == ["o", "i"]
