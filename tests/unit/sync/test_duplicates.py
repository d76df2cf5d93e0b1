"""Removal of duplicate keys, and statistics, while the blocks of a typed batch are read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.entity import Column, ColumnType, Entity
from etl.sync.records import duplicates
from etl.sync.records.duplicates import DuplicateFilter
from etl.sync.records.rows import schema

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def block(*keys: str, entity: Entity = TRANSACTIONS, account: int = 1, **values: list[Any]) -> pa.RecordBatch:
    """Return records with the keys, all of one provider account."""
    count = len(keys)
    values_by_column = {
        "seq": list(range(count)),
        "provider_account_id": [account] * count,
        "removed": [False] * count,
        "observed_at": [NOON] * count,
        "account_id": ["a"] * count,
        entity.key[-1]: list(keys),
        **values,
    }
    columns = schema(entity)
    arrays = [pa.array(values_by_column.get(field.name, [None] * count), field.type) for field in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def combine(*blocks: pa.RecordBatch) -> pa.RecordBatch:
    """Return one block of several."""
    (combined,) = pa.Table.from_batches(blocks).combine_chunks().to_batches()
    return combined


def filter_blocks(*blocks: pa.RecordBatch, entity: Entity = TRANSACTIONS) -> tuple[DuplicateFilter, list[list[int]]]:
    """Return the filter after it read the blocks, and the `seq` of the records that passed."""
    duplicate_filter = DuplicateFilter(entity)
    return duplicate_filter, [passed["seq"].to_pylist() for passed in duplicate_filter.drop_duplicates(blocks)]


def test_the_last_record_of_a_key_in_a_block_passes() -> None:
    duplicate_filter, passed = filter_blocks(block("a", "b", "a", "c", "b", "d"))
    assert passed == [[2, 3, 4, 5]]
    assert (duplicate_filter.rows, duplicate_filter.dropped, duplicate_filter.has_possible_duplicates) == (6, 2, False)


def test_a_date_in_the_future_counts_as_the_day_of_its_observation() -> None:
    days = [date(9999, 12, 31), date(2026, 11, 28), None]
    _, passed = filter_blocks(block("m", "m", "m", entity=MERCHANTS, named_on=days), entity=MERCHANTS)
    assert passed == [[1]]


def test_one_key_in_several_accounts_is_no_duplicate() -> None:
    duplicate_filter, passed = filter_blocks(
        combine(block("a", account=1), block("a", account=2)), block("b", "a", account=3)
    )
    assert passed == [[0, 0], [0, 1]]
    assert (duplicate_filter.dropped, duplicate_filter.has_possible_duplicates) == (0, False)


@pytest.mark.parametrize(("last", "repeats"), [("a", True), ("z", False)])
def test_keys_of_an_account_are_compared_with_those_in_all_its_earlier_blocks(last: str, *, repeats: bool) -> None:
    first, other = combine(block("a", account=7), block("a", "b")), block("a", account=8)
    duplicate_filter, _ = filter_blocks(first, block("c"), block("d"), combine(block(last), other))
    assert duplicate_filter.has_possible_duplicates is repeats
    assert duplicate_filter.dropped == 0


def test_an_account_with_too_many_keys_for_memory_has_possible_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_KEYS_IN_MEMORY", 3)
    few, _ = filter_blocks(block("a", "b"), block("c"))
    many, _ = filter_blocks(block("a", "b"), block("c", "d"))
    assert (few.has_possible_duplicates, many.has_possible_duplicates) == (False, True)


def test_of_a_key_that_accounts_share_the_newest_record_of_all_blocks_passes() -> None:
    days = [date(2026, 11, 3), date(2026, 11, 1)]
    duplicate_filter, passed = filter_blocks(
        block("a", "b", entity=MERCHANTS, seq=[0, 1], named_on=days),
        block("b", "a", entity=MERCHANTS, account=2, seq=[2, 3], named_on=days),
        entity=MERCHANTS,
    )
    assert passed == [[0, 2]]
    assert (duplicate_filter.rows, duplicate_filter.dropped) == (4, 2)
    assert not duplicate_filter.has_possible_duplicates


@pytest.mark.parametrize(("keys", "expected"), [("abcdefab", [[0, 1, 2, 3, 4, 5], [6, 7]]), ("aabbbbbb", [[1, 7]])])
def test_more_shared_keys_than_fit_into_memory_may_pass_twice(
    monkeypatch: pytest.MonkeyPatch, keys: str, expected: list[list[int]]
) -> None:
    monkeypatch.setattr(duplicates, "MAX_KEYS_IN_MEMORY", 4)
    blocks = [block(*keys[i : i + 2], entity=MERCHANTS, seq=[i, i + 1]) for i in (0, 2, 4, 6)]
    duplicate_filter, passed = filter_blocks(*blocks, entity=MERCHANTS)
    assert passed == expected
    assert duplicate_filter.has_possible_duplicates is (len(expected) > 1)


def test_of_a_key_that_accounts_share_the_last_record_passes() -> None:
    shared = replace(TRANSACTIONS, key=("transaction_id",))
    duplicate_filter, passed = filter_blocks(combine(block("a", "b"), block("a", account=2)), entity=shared)
    assert passed == [[1, 0]]
    assert (duplicate_filter.dropped, duplicate_filter.has_possible_duplicates) == (1, False)


def test_the_newest_record_of_a_key_passes_whatever_its_position() -> None:
    evening = NOON.replace(hour=18)
    days = [date(2026, 11, 2), None, date(2026, 11, 3), date(2026, 11, 3), date(2026, 11, 3), date(2026, 11, 1), None]
    observed_at = [evening, evening, NOON, evening, NOON, evening, evening]
    keys = ["a", "a", "a", "a", "a", "a", "b"]
    _, passed = filter_blocks(block(*keys, entity=MERCHANTS, named_on=days, observed_at=observed_at), entity=MERCHANTS)
    assert passed == [[3, 6]]


def test_a_key_column_may_be_named_place() -> None:
    place = Column("place", ColumnType.TEXT, path="entity_id")
    entity = replace(MERCHANTS, columns=(place, *MERCHANTS.columns[1:]), key=("place",), checks=())
    _, passed = filter_blocks(block("a", "a", entity=entity), entity=entity)
    assert passed == [[1]]


def test_a_removal_in_any_block_is_detected() -> None:
    none, _ = filter_blocks(block("a"), block("b"))
    one, _ = filter_blocks(block("a"), block("b", "c", removed=[False, True]), block("d"))
    assert (none.has_removals, one.has_removals) == (False, True)


def test_the_earliest_observation_is_taken_from_all_blocks() -> None:
    morning, evening = NOON.replace(hour=6), NOON.replace(hour=18)
    duplicate_filter, _ = filter_blocks(block("a"), block("b", "c", observed_at=[evening, morning]), block("d"))
    assert duplicate_filter.earliest_observed_at == morning


def test_a_batch_without_records_has_no_earliest_observation() -> None:
    duplicate_filter, passed = filter_blocks()
    assert (duplicate_filter.earliest_observed_at, duplicate_filter.rows, passed) == (None, 0, [])
