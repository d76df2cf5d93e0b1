"""Superseded versions of rows: which are kept, and what was known at an instant."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from psycopg import errors

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db import migrations
from etl.db.connection import Connection
from etl.declare.entity import ColumnType
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
KEY = {name: transaction()[name] for name in ("account_id", "transaction_id")}
VERSIONS = "select amount::float, removed_at, observed_at, superseded_at from core.transactions_history order by 4, 3"
HOUR = timedelta(hours=1)
OTHER_VALUES = {
    ColumnType.TEXT: "'other'",
    ColumnType.MONEY: "-1",
    ColumnType.DATE: "'2000-01-01'",
    ColumnType.INSTANT: "'2000-01-01Z'",
    ColumnType.BOOLEAN: "not pending",
}


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    """Return an account with one transaction, observed at FIRST."""
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()])), moves=">a"))
    return account


def load(pipeline: Pipeline, account: int, body: bytes, *, moves: str, at: datetime = LATER, **options: Any) -> int:
    raw_id = pipeline.seal_pages((account, body), moves=moves, at=at, run_id=f"run {moves}", **options)
    pipeline.load(raw_id)
    return raw_id


def test_a_first_load_keeps_no_version(account: int, rows: Rows) -> None:
    assert rows(VERSIONS) == []


def test_a_changed_and_then_removed_row_keeps_each_version_with_its_interval(
    pipeline: Pipeline, account: int, rows: Rows
) -> None:
    load(pipeline, account, page(modified=[transaction(amount=1)]), moves="a>b")
    load(pipeline, account, page(removed=[KEY]), moves="b>c", at=LATER + HOUR)
    assert rows(VERSIONS) == [(72.1, None, FIRST, LATER), (1.0, None, LATER, LATER + HOUR)]
    assert rows("select count(*) from core.transactions where removed_at is not null") == [(1,)]


def test_a_row_that_a_full_read_lacks_keeps_its_live_version(pipeline: Pipeline, account: int, rows: Rows) -> None:
    others = [transaction(transaction_id=f"other {number}") for number in range(20)]
    load(pipeline, account, page(added=others), moves="a>b", at=FIRST)
    load(pipeline, account, page(added=others), moves="b>c", whole=True)
    removed = rows("select count(*) from core.transactions where removed_at is not null")
    assert rows("select count(*) from core.transactions_history where removed_at is null") == removed == [(1,)]


@pytest.mark.parametrize(
    "column",
    [
        *(column for column in TRANSACTIONS.columns if column.name not in TRANSACTIONS.key),
    ],
    ids=lambda column: column.name,
)
def test_a_change_of_any_column_keeps_the_version_before(account: int, db: Connection, rows: Rows, column: Any) -> None:
    before = rows(f"select {column.name} from core.transactions")
    db.execute(
        f"update core.transactions set {column.name} = {OTHER_VALUES[column.kind]}, observed_at = %s".encode(), (LATER,)
    )
    assert rows(f"select {column.name} from core.transactions_history where superseded_at = %s", LATER) == before


@pytest.mark.parametrize("change", ["raw_id = raw_id", "observed_at = now()", "outdated_at = now()"])
def test_a_change_of_bookkeeping_is_no_version(account: int, db: Connection, rows: Rows, change: str) -> None:
    db.execute(f"update core.transactions set {change}".encode())
    assert rows(VERSIONS) == []


def test_versions_never_overlap_where_a_row_is_set_back_to_an_earlier_observation(
    account: int, db: Connection, rows: Rows
) -> None:
    db.execute("update core.transactions set amount = 2, observed_at = %s", (LATER + HOUR,))
    db.execute("update core.transactions set amount = 3, observed_at = %s", (LATER,))
    known = "select amount::float from core.transactions_as_of(%s)"
    assert [rows(known, at) for at in (FIRST, LATER, LATER + HOUR, LATER + 2 * HOUR)] == [
        [(72.1,)],
        [(3.0,)],
        [(3.0,)],
        [(3.0,)],
    ]


def test_rows_as_of_an_instant_are_those_that_were_live_then(pipeline: Pipeline, rows: Rows) -> None:
    random = Random("as of")
    accounts = pipeline.enrol("one", "two")
    ids = [f"t{number}" for number in range(12)]
    columns = "provider_account_id, transaction_id, account_id, amount, pending, dated_on, observed_at"
    known: dict[datetime, list[tuple[object, ...]]] = {FIRST - HOUR: []}
    for step in range(25):
        at = FIRST + step * HOUR
        account = random.choice(accounts)
        drawn = random.sample(ids, 5)
        body = page(
            added=[
                transaction(transaction_id=each, amount=random.randrange(1, 4), pending=random.random() < 0.3)
                for each in drawn[:3]
            ],
            removed=[{**KEY, "transaction_id": each} for each in drawn[3:]],
        )
        ((cursor,),) = rows(
            "select coalesce((select value from etl.cursors where provider_account_id = %s), '')", account
        )
        load(pipeline, account, body, moves=f"{cursor}>{step}", at=at)
        known[at] = rows(f"select {columns} from core.transactions where removed_at is null order by 1, 2")
    for at, live in known.items():
        assert rows(f"select {columns} from core.transactions_as_of(%s) order by 1, 2", at) == live
        assert rows(f"select {columns} from core.transactions_as_of(%s) order by 1, 2", at + HOUR / 2) == live
    assert len({str(live) for live in known.values()}) > 20


def test_the_rows_of_one_account_as_of_an_instant_are_looked_up_in_one_range_of_each_index(
    pipeline: Pipeline, db: Connection, rows: Rows
) -> None:
    accounts = pipeline.enrol(*(f"login {number}" for number in range(40)))
    pipeline.load(
        pipeline.seal_pages(
            *(
                (account, page(added=[transaction(transaction_id=f"t{number}") for number in range(200)]))
                for account in accounts
            )
        )
    )
    db.execute("update core.transactions set amount = 1, observed_at = %s", (LATER,))
    db.execute("update core.transactions set amount = 2, observed_at = %s where transaction_id = 't7'", (LATER + HOUR,))
    db.execute("analyze core.transactions, core.transactions_history")
    query = "select sum(amount) from core.transactions_as_of(%s) where provider_account_id = %s"
    plan = [line for (line,) in rows(f"explain (analyze, timing off, costs off) {query}", LATER, accounts[3])]
    lines = [str(line).strip() for line in plan]
    scans = [(line, condition) for line, condition in pairwise(lines) if " on transactions_" in line]
    assert len(scans) == 2, plan
    assert all("Cond: (" in condition and "provider_account_id" in condition for _, condition in scans), plan
    (superseded,) = ((line, condition) for line, condition in scans if "transactions_history" in line)
    assert re.search(r"rows=1(\.00)? ", superseded[0]), "it reads only the one version that was superseded afterwards"
    assert "superseded_at >" in superseded[1]
    ((index,),) = rows("select indexdef from pg_indexes where tablename = 'transactions_history'")
    assert str(index).endswith("(provider_account_id, superseded_at, transaction_id)"), (
        "one range for all versions since"
    )
    assert rows(query, LATER, accounts[3]) == [(200,)]


def test_a_batch_that_is_merged_once_more_after_its_rows_were_deleted_keeps_no_version_twice(
    pipeline: Pipeline, account: int, db: Connection, rows: Rows
) -> None:
    load(pipeline, account, page(modified=[transaction(amount=1)]), moves="a>b")
    before = rows(VERSIONS)
    db.execute("delete from core.transactions")
    pipeline.replay(1)
    assert rows("select amount::float from core.transactions") == [(1.0,)]
    assert rows(VERSIONS) == before
    assert len(before) == 1


def test_superseding_a_row_reads_no_version_of_others_whatever_the_planner_settings_of_the_statement(
    pipeline: Pipeline, account: int, db: Connection, rows: Rows
) -> None:
    others = pipeline.enrol(*(f"login {number}" for number in range(200)))
    db.execute(
        "insert into core.transactions_history select * from core.transactions, "
        "lateral (select %s::timestamptz as superseded_at) as s",
        (LATER,),
    )
    names = "account_id, amount, dated_on, pending, observed_at, raw_id, superseded_at"
    db.execute(
        f"insert into core.transactions_history (provider_account_id, transaction_id, {names}) "
        f"select o.id, 't' || n, {names} from core.transactions_history, unnest(%s::bigint[]) as o (id), "
        "generate_series(1, 100) as n".encode(),
        (others,),
    )
    db.execute("analyze core.transactions_history")
    read = (
        "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int from pg_stat_xact_user_tables "
        "where relname like 'transactions_history_%'"
    )
    with db.transaction():
        db.execute("set local enable_nestloop = off")
        db.execute("update core.transactions set amount = 2, observed_at = %s", (LATER,))
        ((versions,),) = rows(read)
    assert isinstance(versions, int)
    assert versions < 10, "there are 20,000 of others"


def test_superseding_many_rows_reads_no_table_of_versions_as_a_whole(
    pipeline: Pipeline, account: int, db: Connection, rows: Rows
) -> None:
    names = "account_id, amount, dated_on, pending, observed_at, raw_id"
    db.execute(
        f"insert into core.transactions (provider_account_id, transaction_id, {names}) "
        f"select provider_account_id, 'many' || n, {names} from core.transactions, "
        "generate_series(1, 2000) as n".encode()
    )
    for hours in (1, 2):
        db.execute("update core.transactions set amount = %s, observed_at = %s", (hours, FIRST + hours * HOUR))
    db.execute("analyze core.transactions_history")
    read = (
        "select sum(seq_tup_read)::int, sum(coalesce(idx_tup_fetch, 0))::int from pg_stat_xact_user_tables "
        "where relname like 'transactions_history_%'"
    )
    with db.transaction():
        db.execute("update core.transactions set amount = 3, observed_at = %s", (FIRST + 3 * HOUR,))
        assert rows(read) == [(0, 0)]
    with db.transaction():
        db.execute("update core.transactions set amount = 4, observed_at = %s where transaction_id = 'many1'", (LATER,))
        ((in_sequence, by_index),) = rows(read)
    assert in_sequence == 0
    assert isinstance(by_index, int)
    assert by_index < 20_000


def test_a_history_has_partitions_like_those_of_its_table(rows: Rows) -> None:
    bounds = "select pg_get_expr(c.relpartbound, c.oid) from pg_inherits as i join pg_class as c on c.oid = i.inhrelid "
    expected = rows(f"{bounds} where i.inhparent = 'core.transactions'::regclass order by 1")
    assert rows(f"{bounds} where i.inhparent = 'core.transactions_history'::regclass order by 1") == expected
    assert len(expected) == 16


def test_a_column_that_a_table_gains_is_kept_after_the_next_migration(account: int, db: Connection, rows: Rows) -> None:
    db.execute("alter table core.transactions add column colour text")
    db.execute("update core.transactions set colour = 'red', amount = 2, observed_at = %s", (LATER,))
    migrations.migrate(db, ENTITIES)
    db.execute("update core.transactions set colour = 'blue', observed_at = %s", (LATER + HOUR,))
    assert rows("select colour, amount::float from core.transactions_history order by superseded_at") == [
        (None, 72.1),
        ("red", 2.0),
    ]
    assert rows("select colour from core.transactions_as_of(%s)", LATER) == [("red",)]


def test_a_login_whose_versions_are_kept_cannot_be_deleted(account: int, db: Connection) -> None:
    db.execute("update core.transactions set amount = 2, observed_at = %s", (LATER,))
    db.execute("delete from etl.cursors")
    db.execute("delete from core.transactions")
    with pytest.raises(errors.ForeignKeyViolation, match=r"still has rows that core\.transactions_history names"):
        db.execute("delete from core.provider_accounts")
    db.execute("delete from core.transactions_history where provider_account_id = %s", (account,))
    db.execute("delete from core.provider_accounts")


def test_only_entities_that_declare_it_keep_versions(account: int, db: Connection, rows: Rows) -> None:
    assert rows("select to_regclass('core.merchants_history')") == [(None,)]
    migrations.migrate(db, [replace(TRANSACTIONS, history=False)])
    db.execute("update core.transactions set amount = 2, observed_at = %s", (LATER,))
    assert rows(VERSIONS) == []


def test_migrating_again_waits_for_no_reader_and_no_writer(account: int, db: Connection, connect: Any) -> None:
    other = connect()
    db.execute("set lock_timeout = '500ms'")
    with other.transaction():
        other.execute("update core.transactions set amount = 2, observed_at = %s", (LATER,))
        other.execute("select amount from core.transactions_as_of(now())")
        db.execute("select core.keep_history('transactions')")


def test_a_table_without_a_primary_key_cannot_keep_versions(db: Connection) -> None:
    db.execute("create table core.things (name text, observed_at timestamptz, raw_id bigint)")
    with pytest.raises(errors.RaiseException, match=r"core\.things keeps a history and has no primary key; add one"):
        db.execute("select core.keep_history('things')")
