"""The staging table of a merge."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from psycopg.sql import SQL

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import Connection
from etl.db.tables.entity_statements import EntityStatements
from etl.sync.records.rows import schema
from etl.sync.store import staging
from etl.sync.store.typed_batches import CURSOR_MOVE_SCHEMA, CursorMove

RECORDS = 5_000
TEN_ROWS = """
insert into core.transactions (
    provider_account_id, account_id, transaction_id,
    amount, dated_on, pending, description, payment_channel, observed_at, raw_id
)
select account, 'a', n::text, 1, now(), false, '', '', now(), 1
from unnest(%s::bigint[]) as account, generate_series(1, 10) as n
"""


def batch(*, keys: int) -> pa.RecordBatch:
    """Return records with no values except a key."""
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


def test_the_last_record_of_each_key_is_kept(db: Connection) -> None:
    with db.transaction():
        staging.fill_rows(db, TRANSACTIONS, [batch(keys=10)])
        assert staging.drop_superseded(db, TRANSACTIONS) == RECORDS - 10
        remaining = db.execute("select i.seq from incoming as i order by i.seq").fetchall()
    assert remaining == [(seq,) for seq in range(RECORDS - 10, RECORDS)]


def test_the_newest_record_of_each_key_is_kept_by_date_then_observation_then_position(db: Connection) -> None:
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    days = [date(2026, 11, 3), None, date(2026, 11, 3), date(2026, 11, 3), date(2026, 11, 1), None]
    observed_at = [
        noon,
        noon.replace(hour=18),
        noon.replace(hour=18),
        noon.replace(hour=18),
        noon.replace(hour=19),
        noon,
    ]
    keys = ["a", "a", "a", "a", "a", "b"]
    records = [
        {"seq": seq, "entity_id": key, "named_on": day, "observed_at": observed}
        for seq, (key, day, observed) in enumerate(zip(keys, days, observed_at, strict=True))
    ]
    with db.transaction():
        staging.fill_rows(db, MERCHANTS, [pa.RecordBatch.from_pylist(records, schema(MERCHANTS))])
        assert staging.drop_superseded(db, MERCHANTS) == 4
        assert db.execute("select i.seq from incoming as i order by i.seq").fetchall() == [(3,), (5,)]


def test_a_date_in_the_future_counts_as_the_day_of_its_observation(db: Connection) -> None:
    noon = datetime(2026, 11, 28, 12, tzinfo=UTC)
    records = [
        {"seq": seq, "entity_id": "a", "named_on": day, "observed_at": noon}
        for seq, day in enumerate((date(9999, 12, 31), date(2026, 11, 28), None))
    ]
    with db.transaction():
        staging.fill_rows(db, MERCHANTS, [pa.RecordBatch.from_pylist(records, schema(MERCHANTS))])
        assert staging.drop_superseded(db, MERCHANTS) == 2
        assert db.execute("select i.seq from incoming as i").fetchall() == [(1,)]


def test_records_are_not_compared_pairwise_when_memory_is_short(db: Connection) -> None:
    with db.transaction():
        staging.fill_rows(db, TRANSACTIONS, [batch(keys=RECORDS)])
        db.execute("set local work_mem = '64kB'")
        (query,) = staging._drop_superseded_queries(TRANSACTIONS)
        explained = SQL("explain {}").format(query)
        plan = "\n".join(line for (line,) in db.execute(explained).fetchall())
    assert "SubPlan" not in plan
    assert "Nested Loop" not in plan


@pytest.mark.parametrize(("configured", "expected"), [("4MB", "64MB"), ("128MB", "128MB")])
def test_a_merge_raises_work_mem_and_never_lowers_it(db: Connection, configured: str, expected: str) -> None:
    with db.transaction():
        db.execute(SQL("set local work_mem = {}").format(configured))
        staging.fill_rows(db, TRANSACTIONS, [batch(keys=1)])
        assert db.execute("show work_mem").fetchall() == [(expected,)]
        with staging.prefer_hash_join(db):
            assert db.execute("show hash_mem_multiplier").fetchall() == [("1",)]


def test_values_are_staged_exactly(db: Connection) -> None:
    values_by_column: dict[str, list[object]] = {
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
        [pa.array(values_by_column.get(field.name, [None] * 6), field.type) for field in columns], schema=columns
    )
    with db.transaction():
        staging.fill_rows(db, TRANSACTIONS, [rows.slice(0, 2), rows.slice(2)])
        arrived = db.execute(
            "select i.seq, i.amount, i.dated_on, i.dated_at, i.description, i.pending from incoming as i order by i.seq"
        ).fetchall()
    assert arrived == list(zip(*values_by_column.values(), strict=True))


def test_batches_are_buffered_in_memory(db: Connection) -> None:
    with db.transaction():
        staging.fill_rows(db, TRANSACTIONS, [batch(keys=1)])
        assert db.execute("show temp_buffers").fetchall() == [("64MB",)]
    with db.transaction():
        assert staging.fill_rows(db, TRANSACTIONS, [batch(keys=1)]) == RECORDS


def test_a_batch_can_be_staged_in_a_session_with_other_temporary_tables(db: Connection) -> None:
    db.execute("create temp table another as select 1 as one")
    with db.transaction():
        assert staging.fill_rows(db, TRANSACTIONS, [batch(keys=1)]) == RECORDS


def test_sequential_scans_and_jit_are_off_only_while_index_lookups_are_preferred(
    db: Connection,
) -> None:
    def settings() -> list[tuple[str, ...]]:
        names = ["enable_seqscan", "jit", "enable_nestloop"]
        return db.execute("select current_setting(name) from unnest(%s::text[]) as name", [names]).fetchall()

    db.execute("set jit = on")
    with db.transaction(), staging.prefer_index_lookup(db):
        assert settings() == [("off",), ("off",), ("on",)]
        with staging.prefer_hash_join(db):
            assert settings() == [("off",), ("off",), ("off",)]
        assert settings() == [("off",), ("off",), ("on",)]
    assert settings() == [("on",), ("on",), ("on",)]


def test_existing_rows_are_few_up_to_the_limit_and_those_of_other_accounts_do_not_count(db: Connection) -> None:
    db.execute("alter table core.transactions disable trigger user")
    db.execute(TEN_ROWS, [[1, 2, 3]])
    moves = [asdict(CursorMove(account, "", "a", whole=False)) for account in (1, 2, 4)]
    with db.transaction():
        staging.fill_cursor_moves(db, pa.Table.from_pylist(moves, CURSOR_MOVE_SCHEMA))
        assert staging.has_few_existing_rows(db, TRANSACTIONS, limit=20)
        assert not staging.has_few_existing_rows(db, TRANSACTIONS, limit=19)


@pytest.mark.parametrize("lookup", ["existing_by_key", "existing_of_accounts"])
def test_no_merge_reads_rows_of_accounts_that_are_not_in_its_batch(db: Connection, lookup: str) -> None:
    file = EntityStatements(TRANSACTIONS)
    merge = file["merge"].substitute(existing=file[lookup])
    with db.transaction():
        staging.fill_rows(db, TRANSACTIONS, [batch(keys=RECORDS)])
        staging.fill_cursor_moves(db, CURSOR_MOVE_SCHEMA.empty_table())
        with staging.prefer_index_lookup(db), ExitStack() as stack:
            if lookup == "existing_of_accounts":
                stack.enter_context(staging.prefer_hash_join(db))
            lines = db.execute(SQL("explain ") + merge, {"raw_id": 1}).fetchall()
    plan = "\n".join(line for (line,) in lines)
    assert "Seq Scan on transactions_" not in plan
    assert plan.count("provider_account_id = ") >= 16
    assert ("Nested Loop" in plan) == (lookup == "existing_by_key")
