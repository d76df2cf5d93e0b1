"""Values in the forms in which providers send them, converted into those of their columns, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.api.request import Epoch, Placeholder
from etl.declare.api.value import ByList, FromColumn, Identity, Indicator, Negated
from etl.declare.column import Column, ColumnType
from etl.declare.entity import Entity
from etl.declare.source import Recent, Snapshot, Source
from etl.errors import DeclarationError
from etl.sync.records.blocks import Block
from etl.sync.records.conversions import Twins
from etl.sync.records.decoder import PageDecoder
from etl.sync.records.rows import TypedRows, build_table

TEXT, MONEY, DATE, INSTANT, BOOLEAN = (
    ColumnType.TEXT,
    ColumnType.MONEY,
    ColumnType.DATE,
    ColumnType.INSTANT,
    ColumnType.BOOLEAN,
)
NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
ID = Column("id", TEXT)
CURRENCY = Column("currency", TEXT, required=False)
LIST = Snapshot(name="rows", path="/{item_id}/rows", upserts=("data.rows[]",))


def entity(*columns: Column, source: Source = LIST, **changes: Any) -> Entity:
    declared = {
        "name": "rows",
        "source": source,
        "window": None,
        "key": ("provider_account_id", "id"),
        "columns": (ID, *columns),
        "currencies": ("currency",) if CURRENCY in columns else (),
        "checks": (),
        "replaces": None,
        "history": False,
        "tolerated_rejects": 1,
    }
    return replace(TRANSACTIONS, **{**declared, **changes})


def rows(declared: Entity, page: object, *, item_id: str = "item", twins: Twins | None = None) -> TypedRows:
    """Return what becomes of the records of a page."""
    body = page if isinstance(page, bytes) else msgspec.json.encode(page)
    decoded = PageDecoder(declared, declared.source.name).decode(body)  # type: ignore[union-attr]
    assert not decoded.rejected, decoded.rejected
    block = Block(declared, twins=twins or Twins())
    block.add(decoded, provider_account_id=7, line=0, received_at=NOW, item_id=item_id)
    return build_table(block)


def convert(
    column: Column, values: Sequence[object], *others: Column, **fields: Sequence[object]
) -> tuple[list[Any], list[str]]:
    """Return the values of a column after conversion, and the paths of those that were refused."""
    declared = entity(replace(column, required=False), *others)
    count = len(values)
    records = [
        {"id": str(row), column.path or column.name: values[row], **{name: each[row] for name, each in fields.items()}}
        for row in range(count)
    ]
    typed = rows(declared, {"data": {"rows": records}})
    return typed.table[column.name].to_pylist(), [warning.path for each in typed.warned for warning in each.warnings]


def test_a_negated_amount_changes_its_sign_exactly() -> None:
    column = Column("amount", MONEY, sign=Negated())
    values, bad = convert(column, ["-33293.43", "0.1000000001", 12, None], CURRENCY)
    assert (values, bad) == ([Decimal("33293.43"), Decimal("-0.1000000001"), Decimal(-12), None], [])


def test_an_indicator_gives_an_amount_its_sign_and_a_strange_one_costs_it() -> None:
    column = Column("amount", MONEY, sign=Indicator("kind", debit=("D", "DBIT"), credit=("C",)))
    kind = Column("kind", TEXT, stored=False, required=False)
    values, bad = convert(
        column, ["1.10", "2.20", "3", "-4", "5", None], kind, CURRENCY, kind=["D", "C", "x", "D", None, None]
    )
    assert values == [Decimal("1.10"), Decimal("-2.20"), None, None, None, None]
    assert bad == ["data.rows[2].amount", "data.rows[3].amount", "data.rows[4].amount"]


def test_minor_units_are_those_of_the_currency_of_each_row() -> None:
    column = Column("amount", MONEY, minor_units=True)
    currency = ["EUR", "JPY", "KWD", "EUR", "XXX", None, "EUR"]
    values, bad = convert(column, [1234, 1234, 1234, "-5", 1, 1, 12.5], CURRENCY, currency=currency)
    assert values[:4] == [Decimal("12.34"), Decimal(1234), Decimal("1.234"), Decimal("-0.05")]
    assert values[4:] == [None, None, None]
    assert len(bad) == 3
    assert convert(replace(column, minor_units=3), [1234], CURRENCY)[0] == [Decimal("1.234")]
    largest = "999999999999999999"
    assert convert(replace(column, minor_units=2), [largest], CURRENCY)[0] == [Decimal("9999999999999999.99")]


def test_a_text_has_its_limit_after_conversion() -> None:
    page = {"data": {"rows": [{"id": "1"}]}}
    column = Column("account_id", TEXT, fill=Placeholder.ITEM_ID, max_length=4)
    assert not rows(entity(column), page, item_id="item").rejects
    (reject,) = rows(entity(column), page, item_id="items").rejects
    assert "account_id 'items'" in reject.fault.reason


def test_minor_units_and_an_indicator_go_together() -> None:
    column = Column("amount", MONEY, minor_units=2, sign=Indicator("kind", debit=("D",), credit=("C",)))
    kind = Column("kind", TEXT, stored=False)
    assert convert(column, [250, 250], kind, CURRENCY, kind=["D", "C"])[0] == [Decimal("2.5"), Decimal("-2.5")]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1.234,56", "1234.56"),
        ("1234,56", "1234.56"),
        ("-1 234 567,8", "-1234567.8"),
        ("1\u202f234,5", "1234.5"),
        ("+7", "7"),
        ("0,0000000001", "0.0000000001"),
        ("1.234", "1234"),
        ("1.5", None),
        ("1,5,6", None),
        ("12.34,5", None),
        ("1,00000000001", None),
        ("9" * 19, None),
        ("", None),
        ("NaN", None),
    ],
)
def test_an_amount_with_a_decimal_comma_is_read_exactly_or_refused(text: str, amount: str | None) -> None:
    values, bad = convert(Column("amount", MONEY, decimal_comma=True), [text, None], CURRENCY)
    assert values == [None if amount is None else Decimal(amount), None]
    assert len(bad) == (amount is None)


@pytest.mark.parametrize(
    ("form", "text", "day"),
    [
        ("%d.%m.%Y", "05.11.2026", date(2026, 11, 5)),
        ("%d.%m.%Y", "5.1.2026", date(2026, 1, 5)),
        ("%d.%m.%Y", "31.02.2026", None),
        ("%d.%m.%Y", "05.11.26", None),
        ("%d.%m.%Y", "05.11.2026 ", None),
        ("%d.%m.%Y", "2026-11-05", None),
        ("%d/%m/%y", "29/02/24", date(2024, 2, 29)),
        ("%d %b %Y", "05 Nov 2026", date(2026, 11, 5)),
        ("%Y%m%d", "20261105", date(2026, 11, 5)),
    ],
)
def test_a_day_in_a_declared_form_is_read_and_one_that_does_not_exist_is_refused(
    form: str, text: str, day: date | None
) -> None:
    values, bad = convert(Column("day", DATE, format=form), [text, None])
    assert (values, len(bad)) == ([day, None], day is None)


def test_epochs_are_instants_and_days_of_a_zone() -> None:
    seconds, at = 1_793_836_800, datetime(2026, 11, 5, tzinfo=UTC)
    assert convert(Column("at", INSTANT, format=Epoch.SECONDS), [seconds, None])[0] == [at, None]
    milliseconds = Column("at", INSTANT, format=Epoch.MILLISECONDS)
    assert convert(milliseconds, [seconds * 1000 + 5])[0] == [at + timedelta(milliseconds=5)]
    day = Column("day", DATE, format=Epoch.SECONDS)
    assert convert(day, [seconds])[0] == [date(2026, 11, 5)]
    assert convert(replace(day, zone="America/New_York"), [seconds])[0] == [date(2026, 11, 4)]
    values, bad = convert(day, [seconds, 1 << 62])
    assert (values, len(bad)) == ([date(2026, 11, 5), None], 1)


def test_local_times_become_instants_by_their_zone_in_winter_and_in_summer() -> None:
    column = Column("at", INSTANT, zone="Europe/Berlin")
    values, _ = convert(column, ["2026-07-01T12:00:00", "2026-12-01T12:00:00.5", None])
    assert values == [datetime(2026, 7, 1, 10, tzinfo=UTC), datetime(2026, 12, 1, 11, 0, 0, 500_000, tzinfo=UTC), None]
    formatted = replace(column, format="%d.%m.%Y %H:%M")
    assert convert(formatted, ["01.07.2026 12:00"])[0] == [datetime(2026, 7, 1, 10, tzinfo=UTC)]
    offset = Column("at", INSTANT, format="%Y-%m-%d %H:%M:%S %z")
    assert convert(offset, ["2026-07-01 12:00:00 +0200"])[0] == [datetime(2026, 7, 1, 10, tzinfo=UTC)]


def test_a_zone_may_be_in_another_column_and_one_that_is_unknown_costs_the_time() -> None:
    column = Column("at", INSTANT, zone=FromColumn("zone"))
    zone = Column("zone", TEXT, stored=False, required=False)
    values, bad = convert(column, ["2026-07-01T12:00:00"] * 4, zone, zone=["Europe/Berlin", "UTC", "Mars/Base", None])
    assert values == [datetime(2026, 7, 1, 10, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC), None, None]
    assert len(bad) == 2
    day = Column("day", DATE, format=Epoch.SECONDS, zone=FromColumn("zone"))
    values, _ = convert(day, [1_793_836_800] * 2, zone, zone=["America/New_York", "UTC"])
    assert values == [date(2026, 11, 4), date(2026, 11, 5)]


def test_a_helper_column_is_read_and_not_stored() -> None:
    typed = rows(entity(Column("kind", TEXT, stored=False)), {"data": {"rows": [{"id": "1", "kind": "D"}]}})
    assert typed.table.column_names[-1] == "id"


def test_defaults_null_values_and_other_columns_stand_in_for_what_is_absent() -> None:
    declared = entity(
        Column("pending", BOOLEAN, default=False),
        Column("dated_on", DATE, path="bookingDate", otherwise="value_on"),
        Column("value_on", DATE, path="valueDate", required=False, stored=False),
        Column("posted_on", DATE, format=Epoch.SECONDS, null_values=(0,), required=False),
        Column("note", TEXT, null_values=("", "-"), required=False),
    )
    typed = rows(
        declared,
        {
            "data": {
                "rows": [
                    {"id": "1", "bookingDate": "2026-11-01", "valueDate": "2026-11-02", "posted_on": 0, "note": "-"},
                    {"id": "2", "pending": None, "valueDate": "2026-11-02", "note": "x"},
                    {"id": "3", "pending": True},
                ]
            }
        },
    )
    assert typed.table.select(["pending", "dated_on", "posted_on", "note"]).to_pylist() == [
        {"pending": False, "dated_on": date(2026, 11, 1), "posted_on": None, "note": None},
        {"pending": False, "dated_on": date(2026, 11, 2), "posted_on": None, "note": "x"},
    ]
    assert [(reject.fault.path, reject.fault.rule) for reject in typed.rejects] == [
        ("data.rows[2].bookingDate", "required")
    ]


def test_texts_that_do_not_match_stand_for_null_so_that_one_field_may_be_two_columns() -> None:
    declared = entity(
        Column("currency", TEXT, matching="???", required=False),
        Column("custom", TEXT, path="currency", matching="http*://*", required=False),
    )
    sent = ["EUR", "http://a.b/x\ny", "https://a.b/miles", "EURO", "", None, "e.r"]
    typed = rows(declared, {"data": {"rows": [{"id": str(row), "currency": text} for row, text in enumerate(sent)]}})
    assert typed.table["currency"].to_pylist() == ["EUR", None, None, None, None, None, "e.r"]
    assert typed.table["custom"].to_pylist() == [None, sent[1], sent[2], None, None, None, None]


def test_fills_come_from_the_request_and_from_the_list() -> None:
    source = replace(LIST, upserts=("t.booked[]", "t.pending[]"), optional=("t.pending[]",))
    fill = ByList({"t.booked[]": False, "t.pending[]": True})
    declared = entity(
        Column("account_id", TEXT, fill=Placeholder.ITEM_ID), Column("pending", BOOLEAN, fill=fill), source=source
    )
    page = {"t": {"booked": [{"id": "1"}, {"id": "2"}], "pending": [{"id": "3"}]}}
    assert rows(declared, page).table.select(["account_id", "pending"]).to_pylist() == [
        {"account_id": "item", "pending": False},
        {"account_id": "item", "pending": False},
        {"account_id": "item", "pending": True},
    ]
    assert rows(declared, {"t": {"booked": [{"id": "1"}]}}).table["pending"].to_pylist() == [False]


def test_fields_with_dashes_and_lists_in_lists_below_objects_are_read() -> None:
    source = replace(RECENT, upserts=("data.accounts[].transactions[]",), account="account_id")
    declared = entity(
        Column("account_id", TEXT, path="../account-id"),
        Column("day", DATE, path="posted-on"),
        source=source,
    )
    account = {"account-id": "a", "transactions": [{"id": "1", "posted-on": "2026-11-01"}]}
    (row,) = rows(declared, {"data": {"accounts": [account, {"account-id": "b"}]}}).table.to_pylist()
    assert (row["account_id"], row["day"]) == ("a", date(2026, 11, 1))


RECENT = Recent(
    name="rows", path="/rows", query={"s": Placeholder.FIRST_DAY}, upserts=("data.rows[]",), days=9, dated_by="day"
)
IDENTIFIED = entity(
    Column("day", DATE),
    Column("amount", MONEY),
    CURRENCY,
    source=RECENT,
    columns=(
        Column("id", TEXT, path="ref", identity=Identity("day", "amount", "note")),
        Column("day", DATE),
        Column("amount", MONEY),
        Column("note", TEXT, required=False),
        CURRENCY,
    ),
    currencies=("currency",),
)


def ids(records: Sequence[Mapping[str, object]], twins: Twins | None = None) -> list[str]:
    return list(rows(IDENTIFIED, {"data": {"rows": records}}, twins=twins).table["id"].to_pylist())


def test_records_without_an_id_are_identified_by_their_values_and_an_ordinal_among_twins() -> None:
    coffee = {"day": "2026-11-01", "amount": "3.50", "note": "coffee"}
    tea = {"day": "2026-11-01", "amount": 3.5, "note": "tea"}
    first = ids([coffee, tea, coffee, {**coffee, "ref": "own"}])
    assert len(set(first)) == 4
    assert first[3] == "own"
    assert ids([tea, coffee, coffee]) == [first[1], first[0], first[2]]
    assert ids([{**coffee, "amount": 3.5, "more": "unread"}]) == [first[0]]
    assert ids([{**coffee, "day": "2026-11-02"}])[0] not in first


def test_twins_are_counted_over_all_pages_of_a_login() -> None:
    coffee = {"day": "2026-11-01", "amount": "3.50"}
    twins = Twins()
    paged = [*ids([coffee], twins), *ids([coffee], twins)]
    assert paged == ids([coffee, coffee])


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Column("a", TEXT, sign=Negated()), "sign is given, but its kind is TEXT, no MONEY; remove it"),
        (lambda: Column("a", MONEY, minor_units=11), "minor_units is 11; it must be between 0 and 10"),
        (lambda: Column("a", MONEY, minor_units=2, decimal_comma=True), "which have no comma; remove one"),
        (lambda: Column("a", TEXT, format="%d"), "format is given, but its kind is TEXT, neither DATE nor INSTANT"),
        (lambda: Column("a", DATE, format="dd.mm.yyyy"), "which names no day; write such as '%d.%m.%Y'"),
        (lambda: Column("a", DATE, format="%d.%m.%Y %H"), "with a time, but its kind is DATE; remove one of the two"),
        (lambda: Column("a", DATE, format="%Q"), "format has '%Q'; write directives such as"),
        (lambda: Column("a", INSTANT, format="%F %T"), "a local time; write its zone, such as zone='Europe/Berlin'"),
        (lambda: Column("a", INSTANT, zone="Berlin"), "zone is 'Berlin', which is no time zone; write such as"),
        (lambda: Column("a", INSTANT, zone="UTC", format=Epoch.SECONDS), "says the instant without one; remove it"),
        (lambda: Column("a", DATE, zone="UTC"), "a day that is sent as a day has none; remove it"),
        (
            lambda: Column("a", TEXT, fill=Placeholder.CURSOR),
            "fill is Placeholder.CURSOR, which is no property of a rec",
        ),
        (lambda: Column("a", TEXT, fill=Placeholder.ITEM_ID, path="b"), "it has a fill, and so reads no field; remove"),
        (lambda: Column("a", BOOLEAN, fill=Placeholder.ITEM_ID), "a text, but its kind is BOOLEAN"),
        (lambda: Column("a", BOOLEAN, default="no"), "each default or fill is 'no'"),
        (lambda: Column("a", MONEY, default=0), "a MONEY has no default or fill by list; remove it"),
        (lambda: Column("a", DATE, null_values=("",)), "but its field is a date; declare its format"),
        (lambda: Column("a", DATE, matching="*"), "matching is given, but its kind is DATE; write ColumnType.TEXT"),
        (lambda: Column("a", DATE, identity=Identity("b")), "identity is given, but its kind is DATE"),
        (lambda: Column("a", DATE, otherwise="a"), "it depends on itself; name other columns"),
        (lambda: Indicator("a", debit=("x",), credit=("x",)), "'x' is both debit and credit; remove it from one"),
        (lambda: entity(Column("a", DATE, otherwise="b")), "column a depends on b, which is not among its columns"),
        (
            lambda: entity(Column("a", DATE, otherwise="id")),
            "depends on id, which is of ColumnType.TEXT; it must be of",
        ),
        (
            lambda: entity(Column("a", DATE, otherwise="b"), Column("b", DATE, otherwise="a")),
            "column a depends on itself, through a, b",
        ),
        (
            lambda: entity(Column("a", MONEY, minor_units=True)),
            "column a (has minor_units=True without a currency|is money without a currency)",
        ),
        (
            lambda: entity(Column("a", TEXT, fill=Placeholder.ITEM_ID), source=replace(LIST, path="/rows")),
            "which the request of rows does not have, so that nothing says",
        ),
        (
            lambda: entity(Column("a", TEXT, fill=ByList({"x[]": "1"}))),
            r"filled by list, without a value for 'data.rows",
        ),
        (
            lambda: entity(Column("a", TEXT), key=("id", "a"), columns=(ID, Column("a", TEXT, stored=False))),
            "must be stored",
        ),
        (
            lambda: entity(source=RECENT),
            "dated_by of rows is 'day', which is no stored column of ColumnType.DATE; declare",
        ),
        (
            lambda: entity(
                source=RECENT,
                columns=(Column("id", TEXT, identity=Identity("note")), Column("day", DATE), Column("note", TEXT)),
            ),
            "identifies records without day, by which rows selects them",
        ),
    ],
)
def test_a_column_that_cannot_work_is_refused(declare: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare()
