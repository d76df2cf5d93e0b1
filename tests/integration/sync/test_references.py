"""References of transactions, checked once per statement."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import errors

from etl.catalog.entities import ENTITIES
from etl.db import migrations
from etl.db.connection import Connection
from tests.integration.sync.pipeline import Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[int, ...]]]
COPY = """
insert into core.transactions
select (copied.row_value).*
from core.transactions as t
cross join lateral (
    select jsonb_populate_record(t, jsonb_build_object(
        'provider_account_id', {account}, 'raw_id', {batch}, 'transaction_id', t.transaction_id || 'x'
    )) as row_value
) as copied
"""
ROWS_READ = """
select (t.seq_tup_read + t.idx_tup_fetch)::int
from pg_stat_xact_user_tables as t
where t.relid = 'core.provider_accounts'::regclass
"""


@pytest.fixture
def loaded(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline that has loaded one transaction: of provider account 1, from raw batch 1."""
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()]))))
    return pipeline


def violation_of(loaded: Pipeline, statement: str) -> str:
    with pytest.raises(errors.ForeignKeyViolation) as raised:
        loaded.db.execute(statement.encode())
    return str(raised.value)


def test_a_row_of_an_existing_account_and_batch_is_inserted(loaded: Pipeline) -> None:
    loaded.db.execute(COPY.format(account=1, batch=1).encode())


@pytest.mark.parametrize(
    ("account", "batch", "message"),
    [
        (99, 1, "core.transactions names provider_account_id 99, which core.provider_accounts does not hold"),
        (1, 99, "core.transactions names raw_id 99, which etl.raw_batches does not hold"),
    ],
)
def test_inserting_a_row_with_a_missing_reference_is_refused(
    loaded: Pipeline, account: int, batch: int, message: str
) -> None:
    assert message in violation_of(loaded, COPY.format(account=account, batch=batch))


@pytest.mark.parametrize(
    "statement",
    [
        "update core.transactions set raw_id = 99",
        COPY.format(account=1, batch=1).replace(" || 'x'", "")
        + "on conflict (provider_account_id, transaction_id) do update set raw_id = 99",
    ],
)
def test_updating_a_row_to_a_missing_reference_is_refused(loaded: Pipeline, statement: str) -> None:
    assert "raw_id 99" in violation_of(loaded, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from core.provider_accounts",
        "delete from etl.raw_batches",
        "truncate core.provider_accounts cascade",
        "truncate etl.raw_batches cascade",
    ],
)
def test_a_row_that_a_transaction_references_cannot_be_deleted(loaded: Pipeline, statement: str) -> None:
    loaded.db.execute("delete from etl.cursors")
    loaded.db.execute("delete from etl.loads")
    assert "still has rows that core.transactions names" in violation_of(loaded, statement)


def test_a_row_that_no_transaction_references_any_more_can_be_deleted(loaded: Pipeline) -> None:
    for statement in ("delete from etl.cursors", "delete from core.transactions", "delete from core.provider_accounts"):
        loaded.db.execute(statement.encode())


def test_an_account_cannot_be_deleted_while_its_transactions_are_written(
    loaded: Pipeline, connect: Callable[[], Connection]
) -> None:
    other = connect()
    other.execute("set lock_timeout = '200ms'")
    loaded.db.execute("delete from etl.cursors")
    with loaded.db.transaction():
        loaded.db.execute(COPY.format(account=1, batch=1).encode())
        with pytest.raises(errors.LockNotAvailable):
            other.execute("delete from core.provider_accounts")


def test_an_insert_waits_for_a_concurrent_delete_of_its_account(
    loaded: Pipeline, connect: Callable[[], Connection]
) -> None:
    (account,) = loaded.enrol("two")
    other = connect()
    loaded.db.execute("set lock_timeout = '200ms'")
    with other.transaction():
        other.execute("delete from core.provider_accounts where provider_account_id = %s", (account,))
        with pytest.raises(errors.LockNotAvailable):
            loaded.db.execute(COPY.format(account=account, batch=1).encode())
    assert f"provider_account_id {account}" in violation_of(loaded, COPY.format(account=account, batch=1))


def test_the_check_reads_only_referenced_rows_whatever_the_planner_settings_of_the_statement(
    pipeline: Pipeline, rows: Rows
) -> None:
    accounts = pipeline.enrol(*(f"login {number}" for number in range(500)))
    raw_id = pipeline.seal_pages((accounts[-1], page(added=[transaction(), transaction(transaction_id="other")])))
    pipeline.db.execute("analyze core.provider_accounts")
    with pipeline.db.transaction():
        before = rows(ROWS_READ)
        assert pipeline.load(raw_id).inserted == 2
        assert [(read + 3,) for (read,) in before] == rows(ROWS_READ), "once by the check, and twice for the cursor"


def test_migrating_an_older_warehouse_replaces_foreign_keys_by_checks_per_statement(loaded: Pipeline) -> None:
    db = loaded.db
    for statement in (
        "drop function core.check_references cascade",
        "drop function core.prevent_referenced_delete cascade",
        "delete from sluice.migrations where name between '0012' and '0015'",
        "alter table core.transactions add foreign key (provider_account_id) references core.provider_accounts",
        "alter table core.transactions add foreign key (raw_id) references etl.raw_batches",
    ):
        db.execute(statement.encode())
    assert migrations.migrate(db, ENTITIES) == [
        "0012_references",
        "0013_reference_plans",
        "0014_reference_names",
    ]
    kinds = "select contype::text from pg_constraint where conrelid = 'core.transactions'::regclass and contype = 'f'"
    assert db.execute(kinds).fetchall() == []
    assert "raw_id 99" in violation_of(loaded, "update core.transactions set raw_id = 99")


def test_triggers_that_were_created_under_the_old_function_names_keep_working(loaded: Pipeline) -> None:
    db = loaded.db
    for statement in (
        "alter function core.check_references() rename to refer",
        "alter function core.prevent_referenced_delete() rename to keep_referred",
        "delete from sluice.migrations where name = '0014_reference_names'",
        "delete from etl.loads",
    ):
        db.execute(statement.encode())
    assert migrations.migrate(db, ENTITIES) == ["0014_reference_names"]
    assert "raw_id 99" in violation_of(loaded, "update core.transactions set raw_id = 99")
    assert "still has rows that core.transactions names" in violation_of(loaded, "delete from etl.raw_batches")
    setting = "select proconfig from pg_proc where oid = 'core.check_references'::regproc"
    assert db.execute(setting).fetchall() == [(["enable_nestloop=on"],)]
