"""Bad records: each is loaded or rejected, and its siblings load exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import product

import msgspec
import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.sync.load import load
from etl.sync.transform import transform
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import LATER, Pipeline
from tests.integration.sync.test_sync import read_amounts_from_bank
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
HUGE = Decimal(10**15)
HOSTILE: list[object] = [
    None,
    True,
    0,
    -1,
    2**63,
    1e300,
    "",
    " ",
    "\0",
    "nul\0nul",
    "a\n\\.\nb",
    "\ufeff\u202e\uffff\U0010ffff",
    "x" * 3_000,
    [],
    {},
    [[]],
    *(msgspec.Raw(number) for number in (b"1e400", b"-0", b"1e-10", b"999999999999999999.999", b"1" * 5_000)),
    msgspec.Raw(b"-999999999999999999.9999999999"),
    *("NaN", "Infinity", "1e999999999999999999999", "1_000"),
    *("0001-01-01", "9999-12-31", "0000-00-00", "2026-02-30"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-11-20T23:59:60Z", "2026-11-20T10:00:00"),
    *("JPY", "XXX", "ZZZ", "usd"),
]
"""Values that no bank should send."""


def test_a_record_with_any_value_in_any_field_loads_or_is_rejected_and_its_siblings_load(
    pipeline: Pipeline, rows: Rows
) -> None:
    fields = dict.fromkeys(column.path_parts[0] for column in TRANSACTIONS.columns)
    bad = [
        transaction(**{"transaction_id": f"b{number}", field: value})
        for number, (field, value) in enumerate(product([*fields, "counterparties"], HOSTILE))
    ]
    pairs = product(("JPY", "KWD", "USD", "XXX"), HOSTILE)
    bad += [transaction(transaction_id=f"c{n}", iso_currency_code=c, amount=a) for n, (c, a) in enumerate(pairs)]
    good = [transaction(transaction_id=f"good {number}") for number in range(100)]
    records = [record for pair in zip(good, bad, strict=False) for record in pair] + bad[len(good) :]
    (account,) = pipeline.enrol("one")
    pipeline.entity = replace(pipeline.entity, tolerated_rejects=1.0)
    counts = pipeline.load(pipeline.seal_pages((account, page(added=records))))
    assert counts.read == len(records)
    assert len(bad) / 3 < counts.rejected < len(bad) / 2
    paths = {path for (path,) in rows("select distinct path from etl.field_warnings")}
    optional = [column for column in TRANSACTIONS.columns if TRANSACTIONS.may_drop(column)]
    assert paths >= {f"added[].{column.path_parts[0]}" for column in optional}
    rejected = rows("select distinct regexp_replace(path, '^added\\[\\d+\\]\\.', '') from etl.rejects")
    assert {str(field) for (field,) in rejected}.isdisjoint(column.path_parts[0] for column in optional)
    assert rows("select count(*) from core.transactions where left(transaction_id, 5) = 'good '") == [(100,)]
    assert len(rows("select * from core.transactions")) == counts.inserted


def test_counterparties_of_any_shape_load_or_are_rejected_and_their_siblings_load(
    pipeline: Pipeline, rows: Rows
) -> None:
    bad: list[object] = [*HOSTILE, *([value] for value in HOSTILE)]
    fields = enumerate(product(("entity_id", "name", "type", "website"), HOSTILE))
    bad += [[{"entity_id": f"m{number}", "name": "N", field: value}] for number, (field, value) in fields]
    good = [{"entity_id": "good", "name": "Good"}]
    (account,) = pipeline.enrol("one")
    raw_id = pipeline.seal_pages(
        (account, page(added=[transaction(counterparties=counterparties) for counterparties in (good, *bad, good)])),
    )
    transform(MERCHANTS, raw_id, db=pipeline.db, root=pipeline.root)
    counts = load(MERCHANTS, raw_id, db=pipeline.db, root=pipeline.root)
    assert rows("select name from core.merchants where entity_id = 'good'") == [("Good",)]
    assert counts.rejected > len(HOSTILE)


def test_every_record_of_the_bank_is_loaded_as_sent_or_kept_as_a_reject(
    own_bank_pipeline: Pipeline, own_bank: OwnBank, rows: Rows
) -> None:
    own_bank_pipeline.entity = replace(TRANSACTIONS, source=replace(TRANSACTIONS_SYNC, limits=()))
    own_bank_pipeline.link(8)
    expected = read_amounts_from_bank(own_bank_pipeline)
    record_faults = ("unknown_currency", "huge_amount", "nul_name", "emoji_name", "missing_field", "wrong_type")
    own_bank.set_faults(dict.fromkeys(record_faults, 0.03))
    (counts,) = own_bank_pipeline.run("run")
    loaded = {str(key): amount for key, amount in rows("select transaction_id, amount from core.transactions")}
    assert counts.read == len(loaded) + counts.rejected == len(expected)
    assert all(amount in (expected[key], HUGE) for key, amount in loaded.items())
    assert HUGE in loaded.values()
    assert rows("select count(*) > 0 from core.transactions where right(description, 7) = '🧑‍🍳☕️🇯🇵'") == [(True,)]
    assert set(rows("select distinct rule from etl.rejects")) == {("iso4217",), ("type",)}
    assert rows("select distinct path, rule, found like '%\\\\0%' from etl.field_warnings") == [
        ("added[].name", "nul", True)
    ]


@pytest.mark.parametrize(
    ("pages", "amounts"),
    [
        ([page(added=[transaction(amount=1), transaction(amount=2)])], [2]),
        ([page(added=[transaction(amount=1)]), page(added=[transaction(amount=2)])], [2]),
        ([page(added=[transaction(amount=1)]), page(modified=[transaction(amount=2)])], [2]),
        ([page(modified=[transaction(amount=2)], added=[transaction(amount=1)])], [2]),
        ([page(added=[transaction(amount=1)], removed=[transaction()])], []),
        ([page(added=[transaction(amount=1)]), page(removed=[transaction()])], []),
        ([page(removed=[transaction()]), page(added=[transaction(amount=1)])], [1]),
        ([page(removed=[transaction(), transaction()])], []),
    ],
    ids=["one page", "two pages", "modified later", "modified here", "removed here", "removed later", "back", "twice"],
)
def test_the_last_record_of_a_key_wins_on_whichever_page_it_is(
    pipeline: Pipeline, rows: Rows, pages: list[bytes], amounts: list[int]
) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction(amount=0)]))))
    counts = pipeline.load(pipeline.seal_pages(*((account, body) for body in pages), moves="a>b", at=LATER))
    assert (counts.updated, counts.removed) == (len(amounts), 1 - len(amounts))
    assert rows("select amount::int from core.transactions where removed_at is null") == [
        (amount,) for amount in amounts
    ]
