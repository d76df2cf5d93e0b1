"""Batches in hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from psycopg.sql import SQL

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.rows import schema
from etl.stores import incoming
from etl.stores.warehouse import Warehouse

RECORDS = 5_000


def batch(*, keys: int) -> pa.RecordBatch:
    """Return records without anything but a key."""
    values = {
        "seq": list(range(RECORDS)),
        "provider_account_id": [1] * RECORDS,
        "removed": [False] * RECORDS,
        "account_id": ["a"] * RECORDS,
        "transaction_id": [f"t{seq % keys}" for seq in range(RECORDS)],
    }
    columns = schema(TRANSACTIONS)
    return pa.RecordBatch.from_arrays(
        [pa.array(values.get(field.name, [None] * RECORDS), field.type) for field in columns], schema=columns
    )


def test_the_last_record_of_each_key_is_kept(warehouse: Warehouse) -> None:
    with warehouse.transaction():
        incoming.fill(warehouse, TRANSACTIONS, [batch(keys=10)])
        assert incoming.drop_superseded(warehouse, TRANSACTIONS) == RECORDS - 10
        kept = warehouse.execute("select i.seq from incoming as i order by i.seq").fetchall()
    assert kept == [(seq,) for seq in range(RECORDS - 10, RECORDS)]


def test_no_record_is_compared_with_every_other_once_memory_runs_short(warehouse: Warehouse) -> None:
    with warehouse.transaction():
        incoming.fill(warehouse, TRANSACTIONS, [batch(keys=RECORDS)])
        warehouse.execute("set local work_mem = '64kB'")
        explained = SQL("explain {}").format(incoming._drop_superseded(TRANSACTIONS))
        plan = "\n".join(line for (line,) in warehouse.execute(explained).fetchall())
    assert "SubPlan" not in plan
    assert "Nested Loop" not in plan


@pytest.mark.parametrize(("given", "merge"), [("4MB", "64MB"), ("128MB", "128MB")])
def test_a_merge_has_memory_and_never_less_than_the_server_gives(warehouse: Warehouse, given: str, merge: str) -> None:
    with warehouse.transaction():
        warehouse.execute(SQL("set local work_mem = {}").format(given))
        incoming.fill(warehouse, TRANSACTIONS, [batch(keys=1)])
        assert warehouse.execute("show work_mem").fetchall() == [(merge,)]


def test_values_arrive_exactly_as_they_are(warehouse: Warehouse) -> None:
    told: dict[str, list[object]] = {
        "seq": [-(2**63), 0, 1, 2, 3, 2**63 - 1],
        "amount": [
            Decimal("999999999999999999.9999999999"),
            Decimal("-999999999999999999.9999999999"),
            Decimal("-0.0000000001"),
            Decimal(0),
            Decimal("10000.0001"),
            None,
        ],
        "dated_on": [date.min, date.max, date(1999, 12, 31), date(2000, 1, 1), date(2026, 11, 28), None],
        "dated_at": [
            datetime.min.replace(tzinfo=UTC),
            datetime.max.replace(tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(2000, 1, 1, tzinfo=UTC),
            datetime(2026, 11, 28, 10, 35, tzinfo=UTC),
            None,
        ],
        "description": ["", 'a"b,\n\\.', "é😀", "\\N", "\t", None],
        "pending": [True, False, True, False, True, None],
    }
    columns = schema(TRANSACTIONS)
    rows = pa.RecordBatch.from_arrays(
        [pa.array(told.get(each.name, [None] * 6), each.type) for each in columns], schema=columns
    )
    with warehouse.transaction():
        incoming.fill(warehouse, TRANSACTIONS, [rows.slice(0, 2), rows.slice(2)])
        arrived = warehouse.execute(
            "select i.seq, i.amount, i.dated_on, i.dated_at, i.description, i.pending from incoming as i order by i.seq"
        ).fetchall()
    assert arrived == list(zip(*told.values(), strict=True))


def test_batches_are_buffered_in_memory(warehouse: Warehouse) -> None:
    with warehouse.transaction():
        incoming.fill(warehouse, TRANSACTIONS, [batch(keys=1)])
        assert warehouse.execute("show temp_buffers").fetchall() == [("64MB",)]
    with warehouse.transaction():
        assert incoming.fill(warehouse, TRANSACTIONS, [batch(keys=1)]) == RECORDS


def test_a_session_with_temporary_tables_of_its_own_takes_a_batch_too(warehouse: Warehouse) -> None:
    warehouse.execute("create temp table another as select 1 as one")
    with warehouse.transaction():
        assert incoming.fill(warehouse, TRANSACTIONS, [batch(keys=1)]) == RECORDS


def test_what_a_merge_looks_up_is_neither_scanned_for_nor_compiled_and_only_in_its_transaction(
    warehouse: Warehouse,
) -> None:
    def settings() -> list[tuple[str, ...]]:
        return warehouse.execute("select current_setting('enable_seqscan'), current_setting('jit')").fetchall()

    warehouse.execute("set jit = on")
    with warehouse.transaction(), incoming.looked_up(warehouse):
        assert settings() == [("off", "off")]
    assert settings() == [("on", "on")]
