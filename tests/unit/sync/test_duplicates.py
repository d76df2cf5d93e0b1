"""What is learnt of a typed batch while its blocks pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.entity import Column, ColumnType, Entity
from etl.sync.records import duplicates as surveys
from etl.sync.records.duplicates import DuplicateFilter
from etl.sync.records.rows import schema

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def block(*keys: str, entity: Entity = TRANSACTIONS, account: int = 1, **values: list[Any]) -> pa.RecordBatch:
    """Return records with the keys, all of one provider account."""
    count = len(keys)
    told = {
        "seq": list(range(count)),
        "provider_account_id": [account] * count,
        "removed": [False] * count,
        "observed_at": [NOON] * count,
        "account_id": ["a"] * count,
        entity.key[-1]: list(keys),
        **values,
    }
    columns = schema(entity)
    arrays = [pa.array(told.get(field.name, [None] * count), field.type) for field in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def joined(*blocks: pa.RecordBatch) -> pa.RecordBatch:
    """Return one block of several."""
    (whole,) = pa.Table.from_batches(blocks).combine_chunks().to_batches()
    return whole


def surveyed(*blocks: pa.RecordBatch, entity: Entity = TRANSACTIONS) -> tuple[DuplicateFilter, list[list[int]]]:
    """Return the survey of some blocks, and the places of the records that passed."""
    survey = DuplicateFilter(entity)
    return survey, [passed["seq"].to_pylist() for passed in survey.drop_duplicates(blocks)]


def test_of_a_key_that_a_block_tells_several_times_the_last_record_passes() -> None:
    survey, passed = surveyed(block("a", "b", "a", "c", "b", "d"))
    assert passed == [[2, 3, 4, 5]]
    assert (survey.rows, survey.dropped_by_account, survey.has_possible_duplicates) == (6, {1: 2}, False)


def test_accounts_have_keys_of_their_own() -> None:
    survey, passed = surveyed(joined(block("a", account=1), block("a", account=2)), block("b", "a", account=3))
    assert passed == [[0, 0], [0, 1]]
    assert (survey.dropped_by_account, survey.has_possible_duplicates) == ({}, False)


@pytest.mark.parametrize(("last", "repeats"), [("a", True), ("z", False)])
def test_what_is_told_of_an_account_in_several_blocks_is_compared_with_all_before(last: str, *, repeats: bool) -> None:
    first, other = joined(block("a", account=7), block("a", "b")), block("a", account=8)
    survey, _ = surveyed(first, block("c"), block("d"), joined(block(last), other))
    assert survey.has_possible_duplicates is repeats
    assert survey.dropped_by_account == {}


def test_an_account_with_more_keys_than_are_held_may_repeat_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "MAX_KEYS_IN_MEMORY", 3)
    few, _ = surveyed(block("a", "b"), block("c"))
    many, _ = surveyed(block("a", "b"), block("c", "d"))
    assert (few.has_possible_duplicates, many.has_possible_duplicates) == (False, True)


def test_keys_that_accounts_share_may_repeat_in_any_other_block() -> None:
    one, _ = surveyed(block("a", "b", entity=MERCHANTS), entity=MERCHANTS)
    two, _ = surveyed(block("a", entity=MERCHANTS), block("b", entity=MERCHANTS, account=2), entity=MERCHANTS)
    assert (one.has_possible_duplicates, two.has_possible_duplicates) == (False, True)


def test_a_key_that_accounts_with_cursors_share_counts_for_each_of_them() -> None:
    shared = replace(TRANSACTIONS, key=("transaction_id",))
    survey, passed = surveyed(joined(block("a", "b"), block("a", account=2)), entity=shared)
    assert passed == [[0, 1, 0]]
    assert (survey.dropped_by_account, survey.has_possible_duplicates) == ({}, True)


def test_what_did_not_pass_is_counted_for_its_account() -> None:
    told = joined(block("a", "a", "b", account=1), block("a", account=2), block("c", "c", "c", account=3))
    survey, _ = surveyed(told)
    assert survey.dropped_by_account == {1: 1, 3: 2}


def test_a_column_may_have_any_name_that_one_can_have() -> None:
    place = Column("place", ColumnType.TEXT, path="entity_id")
    entity = replace(MERCHANTS, columns=(place, *MERCHANTS.columns[1:]), key=("place",), checks=())
    _, passed = surveyed(block("a", "a", entity=entity), entity=entity)
    assert passed == [[1]]


def test_a_removal_is_seen_wherever_it_is() -> None:
    none, _ = surveyed(block("a"), block("b"))
    one, _ = surveyed(block("a"), block("b", "c", removed=[False, True]), block("d"))
    assert (none.has_removals, one.has_removals) == (False, True)


def test_the_earliest_observation_is_that_of_all_blocks() -> None:
    morning, evening = NOON.replace(hour=6), NOON.replace(hour=18)
    survey, _ = surveyed(block("a"), block("b", "c", observed_at=[evening, morning]), block("d"))
    assert survey.earliest_observed_at == morning


def test_a_batch_without_records_has_no_earliest_observation() -> None:
    survey, passed = surveyed()
    assert (survey.earliest_observed_at, survey.rows, passed) == (None, 0, [])
