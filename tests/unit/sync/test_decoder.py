from decimal import Decimal

import msgspec
import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.entity import Entity
from etl.sync.records.decoder import DecodedPage, LocatedRecord, PageDecoder, Records, column_values, values_by_field
from tests.unit.sync.samples import page, transaction


def value_of(name: str, located: LocatedRecord, entity: Entity = TRANSACTIONS) -> object:
    (column,) = (column for column in entity.columns if column.name == name)
    (value,) = column_values(column, values_by_field([located.records[column.levels_up]]))
    return value


def each(found: Records) -> list[LocatedRecord]:
    return [
        LocatedRecord(path, records) for path, records in zip(found.paths, zip(*found.levels, strict=True), strict=True)
    ]


@pytest.mark.parametrize(
    "amount", ["0.1", "1e3", "12345678901234.0123456789", "-0.005", "999999999999999999.9999999999"]
)
def test_money_is_read_digit_by_digit_and_never_through_a_float(amount: str) -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(
        page(added=[transaction(amount=msgspec.Raw(amount.encode()))])
    )
    (located,) = each(decoded.upserts)
    assert value_of("amount", located) == Decimal(amount)
    assert isinstance(value_of("amount", located), Decimal)


def test_a_record_that_does_not_fit_is_a_fault_with_its_place_and_its_siblings_go_on() -> None:
    body = page(
        added=[transaction(transaction_id="a"), transaction(date="31/12/2026"), transaction(transaction_id="c")]
    )
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body)
    assert [(item.path, value_of("transaction_id", item)) for item in each(decoded.upserts)] == [
        ("added[0]", "a"),
        ("added[2]", "c"),
    ]
    assert [(fault.path, fault.rule) for fault in decoded.faults] == [("added[1].date", "type")]


@pytest.mark.parametrize(
    ("field", "value"),
    [("amount", None), ("amount", "ten"), ("name", None), ("pending", "no"), ("datetime", "2026-11-23T10:00:00")],
)
def test_wrong_type_missing_value_and_instant_without_zone_are_faults(field: str, value: object) -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(page(modified=[transaction(**{field: value})]))
    assert [fault.path for fault in decoded.faults] == [f"modified[0].{field}"]


def test_an_absent_object_on_the_way_to_an_optional_column_gives_null() -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(
        page(added=[transaction(personal_finance_category=None)])
    )
    (located,) = each(decoded.upserts)
    assert value_of("category", located) is None


def test_a_removal_needs_the_key_only() -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(
        page(removed=[{"transaction_id": "t", "account_id": "a"}])
    )
    assert decoded.deletes.paths == ["removed[0]"]
    assert decoded.faults == []


def test_a_removal_without_its_key_is_a_fault() -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(page(removed=[{"transaction_id": "t"}]))
    assert [fault.path for fault in decoded.faults] == ["removed[0]"]


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"added": 3, "modified": [], "removed": []}'])
def test_a_page_that_is_none_is_a_fault_and_no_crash(body: bytes) -> None:
    decoded = PageDecoder(TRANSACTIONS, "transactions_sync").decode(body)
    assert decoded.faults
    assert not decoded.upserts


def merchants_of(body: bytes) -> DecodedPage:
    return PageDecoder(MERCHANTS, "transactions_sync").decode(body)


def test_records_in_lists_of_records_are_read_with_fields_of_the_record_above() -> None:
    shop = {"entity_id": "m1", "name": "Deli", "type": "merchant", "website": None}
    bank = {"entity_id": None, "name": "Some bank", "type": "financial_institution"}
    decoded = merchants_of(page(added=[transaction(counterparties=[bank, shop]), transaction(counterparties=None)]))
    assert decoded.upserts.paths == ["added[0].counterparties[1]"]
    assert value_of("category", each(decoded.upserts)[0], MERCHANTS) == "FOOD_AND_DRINK"
    assert decoded.faults == []


def test_a_bad_record_in_a_list_of_a_record_spoils_no_sibling() -> None:
    good = {"entity_id": "m1", "name": "Deli"}
    decoded = merchants_of(page(added=[transaction(counterparties=[good, {"entity_id": "m2", "name": 7}, good])]))
    assert decoded.upserts.paths == ["added[0].counterparties[0]", "added[0].counterparties[2]"]
    assert [fault.path for fault in decoded.faults] == ["added[0].counterparties[1].name"]
