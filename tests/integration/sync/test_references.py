"""What transactions refer to, checked once a statement."""

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
select {login} as provider_account_id, t.account_id, t.transaction_id || 'x' as transaction_id, t.amount, t.currency,
    t.unofficial_currency, t.dated_on, t.dated_at, t.authorized_on, t.authorized_at, t.pending,
    t.pending_transaction_id, t.description, t.merchant_name, t.merchant_entity_id, t.payment_channel, t.category,
    t.category_detail, t.removed_at, t.removed_for, t.observed_at, {batch} as raw_id
from core.transactions as t
"""
READ = """
select (t.seq_tup_read + t.idx_tup_fetch)::int
from pg_stat_xact_user_tables as t
where t.relid = 'core.provider_accounts'::regclass
"""


@pytest.fixture
def loaded(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline that has loaded one transaction: of login 1, from raw batch 1."""
    (account,) = pipeline.enrol("one")
    pipeline.load(pipeline.seal_pages((account, page(added=[transaction()]))))
    return pipeline


def refused(loaded: Pipeline, statement: str) -> str:
    with pytest.raises(errors.ForeignKeyViolation) as raised:
        loaded.db.execute(statement.encode())
    return str(raised.value)


def test_a_row_of_a_known_login_and_batch_is_taken(loaded: Pipeline) -> None:
    loaded.db.execute(COPY.format(login=1, batch=1).encode())


@pytest.mark.parametrize(
    ("login", "batch", "told"),
    [
        (99, 1, "core.transactions names provider_account_id 99, which core.provider_accounts does not hold"),
        (1, 99, "core.transactions names raw_id 99, which etl.raw_batches does not hold"),
    ],
)
def test_a_row_that_names_nothing_that_exists_is_refused(loaded: Pipeline, login: int, batch: int, told: str) -> None:
    assert told in refused(loaded, COPY.format(login=login, batch=batch))


@pytest.mark.parametrize(
    "statement",
    [
        "update core.transactions set raw_id = 99",
        COPY.format(login=1, batch=1).replace(" || 'x'", "")
        + "on conflict (provider_account_id, account_id, transaction_id) do update set raw_id = 99",
    ],
)
def test_a_row_that_is_changed_to_name_nothing_that_exists_is_refused(loaded: Pipeline, statement: str) -> None:
    assert "raw_id 99" in refused(loaded, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from core.provider_accounts",
        "delete from etl.raw_batches",
        "truncate core.provider_accounts cascade",
        "truncate etl.raw_batches cascade",
    ],
)
def test_what_a_transaction_names_stays(loaded: Pipeline, statement: str) -> None:
    loaded.db.execute("delete from etl.cursors")
    loaded.db.execute("delete from etl.loads")
    assert "still has rows that core.transactions names" in refused(loaded, statement)


def test_what_no_transaction_names_any_more_may_go(loaded: Pipeline) -> None:
    for statement in ("delete from etl.cursors", "delete from core.transactions", "delete from core.provider_accounts"):
        loaded.db.execute(statement.encode())


def test_a_login_cannot_go_while_its_transactions_are_being_written(
    loaded: Pipeline, connect: Callable[[], Connection]
) -> None:
    other = connect()
    other.execute("set lock_timeout = '200ms'")
    loaded.db.execute("delete from etl.cursors")
    with loaded.db.transaction():
        loaded.db.execute(COPY.format(login=1, batch=1).encode())
        with pytest.raises(errors.LockNotAvailable):
            other.execute("delete from core.provider_accounts")


def test_a_row_waits_for_the_end_of_whoever_removes_its_login(
    loaded: Pipeline, connect: Callable[[], Connection]
) -> None:
    (account,) = loaded.enrol("two")
    other = connect()
    loaded.db.execute("set lock_timeout = '200ms'")
    with other.transaction():
        other.execute("delete from core.provider_accounts where provider_account_id = %s", (account,))
        with pytest.raises(errors.LockNotAvailable):
            loaded.db.execute(COPY.format(login=account, batch=1).encode())
    assert f"provider_account_id {account}" in refused(loaded, COPY.format(login=account, batch=1))


def test_only_what_new_rows_name_is_read_to_check_them_whatever_the_statement_allows_itself(
    pipeline: Pipeline, rows: Rows
) -> None:
    accounts = pipeline.enrol(*(f"login {number}" for number in range(500)))
    raw_id = pipeline.seal_pages((accounts[-1], page(added=[transaction(), transaction(transaction_id="other")])))
    pipeline.db.execute("analyze core.provider_accounts")
    with pipeline.db.transaction():
        before = rows(READ)
        assert pipeline.load(raw_id).inserted == 2
        assert [(read + 3,) for (read,) in before] == rows(READ), "once by the check, and twice for the cursor"


def test_a_warehouse_of_before_checks_by_statement_from_now_on(loaded: Pipeline) -> None:
    db = loaded.db
    for statement in (
        "drop function core.refer cascade",
        "drop function core.keep_referred cascade",
        "delete from sluice.migrations where name = '0012_references'",
        "alter table core.transactions add foreign key (provider_account_id) references core.provider_accounts",
        "alter table core.transactions add foreign key (raw_id) references etl.raw_batches",
    ):
        db.execute(statement.encode())
    assert migrations.migrate(db, [entity.name for entity in ENTITIES]) == ["0012_references"]
    kinds = "select contype::text from pg_constraint where conrelid = 'core.transactions'::regclass and contype = 'f'"
    assert db.execute(kinds).fetchall() == []
    assert "raw_id 99" in refused(loaded, "update core.transactions set raw_id = 99")
