"""The tables of entities follow their declarations, and what could lose values is refused with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from psycopg.sql import SQL

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.db import migrations
from etl.db.connection import Connection
from etl.db.migrations import TableDiffers
from etl.db.statements import Statement
from etl.db.tables import entity_statements
from etl.db.tables.entity_statements import EntityStatements
from etl.db.tables.layout import create_staging_table
from etl.declare.api.derived import Settlement
from etl.declare.api.request import Placeholder
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.source import Recent
from etl.sync.store import staging
from tests.unit.db.test_versions import with_column

Rows = Callable[..., list[tuple[object, ...]]]
MEMO = Column("memo", ColumnType.TEXT, required=False, summary="What it's for.")
ROW = "insert into core.merchants (entity_id, name, observed_at, raw_id) values ('a', 'A', now(), 1)"
COLUMN = (
    "select format_type(a.atttypid, a.atttypmod), a.attnotnull from pg_attribute as a "
    "where a.attrelid = %s::regclass and a.attname = %s"
)
PLAIN: dict[str, Any] = {"currencies": (), "checks": (), "replaces": None, "window": None, "history": False}
ORDER = (Column("order", ColumnType.INTEGER), Column("group", ColumnType.DATE), Column("user", ColumnType.TEXT))
RECENT = Recent(name="r", path="/r", query={"d": Placeholder.FIRST_DAY}, upserts=("r[]",), days=9, dated_by="group")
SETTLED = (
    *ORDER,
    Column("amount", ColumnType.MONEY),
    Column("currency", ColumnType.TEXT),
    Column("account_id", ColumnType.TEXT),
    Column("pending", ColumnType.BOOLEAN),
    Column("sign", ColumnType.TEXT, stored=False),
)

SHAPES = [
    replace(
        TRANSACTIONS,
        name="feed_of_bare_keys",
        columns=ORDER[:2],
        key=("provider_account_id", "order", "group"),
        **PLAIN,
    ),
    replace(TRANSACTIONS, name="feed_without_logins", columns=ORDER, key=("order",), **PLAIN),
    replace(
        TRANSACTIONS,
        name="feed_without_removals",
        columns=ORDER,
        key=("provider_account_id", "group"),
        source=replace(TRANSACTIONS_SYNC, deletes=()),
        **PLAIN,
    ),
    replace(ACCOUNTS, name="snapshot_of_words", columns=ORDER, key=("user", "provider_account_id", "order"), **PLAIN),
    replace(ACCOUNTS, name="snapshot_of_keys", columns=ORDER[:1], key=("provider_account_id", "order"), **PLAIN),
    replace(ACCOUNTS, name="snapshot_by_day", columns=ORDER, key=("order",), newest_by="group", **PLAIN),
    replace(TRANSACTIONS, name="recent", columns=ORDER, key=("provider_account_id", "order"), source=RECENT, **PLAIN),
    replace(
        TRANSACTIONS,
        name="recent_and_settled",
        columns=SETTLED,
        key=("provider_account_id", "order", "group"),
        source=replace(RECENT, pending="pending"),
        settlement=Settlement(),
        **PLAIN | {"currencies": ("currency",)},
    ),
    replace(MERCHANTS, name="raw_of_words", columns=(*MERCHANTS.columns, *ORDER), key=("entity_id", "user")),
]
"""Entities of every shape that a declaration can have, with columns named like words of SQL."""


@pytest.fixture
def merchant(db: Connection) -> Connection:
    """Return a warehouse with a row of `core.merchants`."""
    db.execute("set session_replication_role = replica")
    db.execute(ROW)
    return db


def refusal(db: Connection, entity: Entity) -> str:
    with pytest.raises(TableDiffers) as raised:
        migrations.migrate(db, [entity])
    return str(raised.value)


def told(db: Connection, entity: Entity) -> list[str]:
    lines: list[str] = []
    migrations.migrate(db, [entity], tell=lines.append)
    return lines


@pytest.mark.parametrize("entity", SHAPES, ids=lambda entity: entity.name)
def test_a_declaration_of_any_shape_has_a_table_and_statements_that_postgres_accepts(
    entity: Entity, db: Connection
) -> None:
    migrations.migrate(db, [entity])
    assert not migrations.plan(db, [entity]).is_open
    statements = EntityStatements(entity)
    values = {"raw_id": 1, "version": 1, "provider_account_id": 1}
    parts = {"rejected": Statement("select 1::bigint as provider_account_id, 'a' as record_id, now() as observed_at")}
    if "existing_by_key" in statements:
        parts["existing"] = statements["existing_by_key"]
    with db.transaction():
        db.execute(create_staging_table(entity))
        staging._CURSORS_SQL["create_table"].run(db)
        db.execute("create temp table full_reads (provider_account_id bigint, observed_at timestamptz)")
        db.execute(
            "create temp table absent_rows (provider_account_id bigint, record_id text, observed_at timestamptz, "
            "is_held boolean, ends boolean)"
        )
        for name in entity_statements._composed_names(entity) - {"existing_by_key", "existing_of_accounts"}:
            db.execute(SQL("explain ") + statements[name].substitute(**parts), values)


def test_a_fresh_warehouse_is_as_declared_and_a_plan_of_an_empty_database_changes_nothing(
    db: Connection, rows: Rows
) -> None:
    assert not migrations.plan(db, ENTITIES).is_open
    db.execute("drop schema core, etl, notify, sluice cascade")
    plan = migrations.plan(db, ENTITIES)
    assert len(plan.pending) > 20
    assert [str(table.changes[0]) for table in plan.tables] == [f"core.{e.name}: create it" for e in ENTITIES]
    assert rows("select to_regnamespace('core'), to_regnamespace('sluice')") == [(None, None)]


def test_a_new_column_is_added_to_the_table_its_history_and_its_view_with_its_comment(
    db: Connection, rows: Rows
) -> None:
    entity = with_column(TRANSACTIONS, MEMO)
    changes = ["core.transactions: add column memo text", "core.transactions: describe memo"]
    assert [str(change) for change in migrations.plan(db, [entity]).tables[0].changes] == changes
    assert rows(COLUMN, "core.transactions", "memo") == []
    assert told(db, entity) == changes
    for table in ("transactions", "transactions_history", "effective_transactions", "transactions_15"):
        assert rows(COLUMN, f"core.{table}", "memo") == [("text", False)]
    assert rows(
        "select col_description('core.transactions'::regclass, attnum) from pg_attribute "
        "where attrelid = 'core.transactions'::regclass and attname = 'memo'"
    ) == [("What it's for.",)]
    assert told(db, entity) == []


def test_a_required_column_is_added_only_to_a_table_without_rows(merchant: Connection, rows: Rows) -> None:
    required = with_column(MERCHANTS, replace(MEMO, required=True))
    message = refusal(merchant, required)
    assert "core.merchants: column memo is missing and required" in message
    assert "declare it with required=False, run `sluice migrate` and `sluice replay merchants`" in message
    assert rows(COLUMN, "core.merchants", "memo") == []
    merchant.execute("delete from core.merchants")
    migrations.migrate(merchant, [required])
    assert rows(COLUMN, "core.merchants", "memo") == [("text", True)]


def test_a_column_becomes_required_once_no_row_lacks_it_and_optional_at_any_time(
    merchant: Connection, rows: Rows
) -> None:
    website = next(column for column in MERCHANTS.columns if column.name == "website")
    required = with_column(MERCHANTS, replace(website, required=True))
    message = refusal(merchant, required)
    assert "column website is declared as required, and some rows have no value for it" in message
    merchant.execute("update core.merchants set website = 'x'")
    assert told(merchant, required) == ["core.merchants: forbid null in column website"]
    assert rows(COLUMN, "core.merchants", "website") == [("text", True)]
    assert told(merchant, MERCHANTS) == ["core.merchants: allow null in column website"]


@pytest.mark.parametrize(
    ("declared", "narrower"),
    [
        (ColumnType.TEXT, "character varying(20)"),
        (ColumnType.INTEGER, "smallint"),
        (ColumnType.INTEGER, "integer"),
        (ColumnType.MONEY, "numeric(20,2)"),
        (ColumnType.MONEY, "integer"),
    ],
)
def test_a_column_whose_type_holds_less_is_widened_with_its_history(
    declared: ColumnType, narrower: str, db: Connection, rows: Rows
) -> None:
    entity = with_column(ACCOUNTS, replace(MEMO, kind=declared))
    db.execute(f"alter table core.accounts add column memo {narrower}".encode())
    db.execute("select core.keep_history('accounts')")
    wider = declared.value
    assert told(db, entity)[0] == f"core.accounts: widen column memo from {narrower} to {wider}"
    assert rows(COLUMN, "core.accounts", "memo") == rows(COLUMN, "core.accounts_history", "memo") == [(wider, False)]
    assert rows("select count(*) from core.accounts_as_of(now())") == [(0,)]


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        (ColumnType.TEXT, "bigint"),
        (ColumnType.INTEGER, "text"),
        (ColumnType.INTEGER, "numeric(28,10)"),
        (ColumnType.MONEY, "numeric(20,1)[]"),
        (ColumnType.MONEY, "numeric(20,11)"),
        (ColumnType.MONEY, "bigint"),
        (ColumnType.INSTANT, "date"),
        (ColumnType.DATE, "timestamp with time zone"),
    ],
)
def test_any_other_type_is_refused_with_the_statement_that_converts(
    declared: ColumnType, found: str, db: Connection
) -> None:
    db.execute(f"alter table core.merchants add column memo {found}".encode())
    message = refusal(db, with_column(replace(MERCHANTS, currencies=("type",)), replace(MEMO, kind=declared)))
    assert f"core.merchants: column memo is {found}, and " in message
    assert "; restore the kind of the column, and declare the new kind under another name" in message
    assert "or convert it: alter table core.merchants alter column memo type " in message


def test_a_column_that_a_view_shows_is_widened_after_the_view_was_dropped(db: Connection) -> None:
    db.execute("drop view core.effective_transactions")
    db.execute("alter table core.transactions alter column description type varchar(9)")
    db.execute("create view core.effective_transactions as select t.description from core.transactions as t")
    message = refusal(db, TRANSACTIONS)
    assert "but a view shows it; run `drop view core.effective_transactions;` and then `sluice migrate`" in message
    db.execute("drop view core.effective_transactions")
    migrations.migrate(db, [TRANSACTIONS])
    assert not migrations.plan(db, [TRANSACTIONS]).is_open


def test_a_column_that_is_no_longer_declared_stays_until_somebody_drops_it(db: Connection) -> None:
    entity = with_column(TRANSACTIONS, MEMO)
    migrations.migrate(db, [entity])
    without = replace(TRANSACTIONS, version=3)
    message = refusal(db, without)
    assert (
        "core.transactions: column memo is no longer declared; declare it again, or drop it with its values:" in message
    )
    for statement in message.rpartition("its values: ")[2].removesuffix(".").split("; "):
        db.execute(statement.encode())
    migrations.migrate(db, [without])
    assert not migrations.plan(db, [without]).is_open


def test_a_column_that_was_never_declared_is_left_alone_unless_no_row_may_lack_it(db: Connection) -> None:
    db.execute("alter table core.merchants add column colour text, add column n int not null default 1")
    assert told(db, MERCHANTS) == []
    db.execute("alter table core.merchants alter column n drop default")
    assert "column n is not declared, and no row may lack it, so that nothing could be inserted" in refusal(
        db, MERCHANTS
    )


def test_another_key_is_refused(db: Connection) -> None:
    message = refusal(db, replace(MERCHANTS, key=("entity_id", "name"), version=3))
    assert (
        "core.merchants: its primary key is entity_id, and entity_id, name is declared; declare another ent" in message
    )


def test_a_refused_table_stays_as_it_is_and_the_others_are_changed(db: Connection, rows: Rows) -> None:
    db.execute("alter table core.merchants alter column type type bigint using null")
    entities = [with_column(MERCHANTS, MEMO), with_column(ACCOUNTS, MEMO)]
    with pytest.raises(TableDiffers, match="left as they are, while everything else is up to date"):
        migrations.migrate(db, entities)
    assert rows(COLUMN, "core.merchants", "memo") == []
    assert rows(COLUMN, "core.accounts", "memo") == [("text", False)]


def test_a_declaration_that_changed_after_its_version_loaded_batches_needs_another_version(db: Connection) -> None:
    changed = with_column(MERCHANTS, MEMO)
    migrations.migrate(db, [changed])
    migrations.migrate(db, [with_column(changed, replace(MEMO, path="note"))])
    db.execute("set session_replication_role = replica")
    db.execute("insert into etl.loads values (1, 'merchants', 2, 0, 0, 0, 0, 0, 0, 0, 0)")
    message = refusal(db, changed)
    assert "version 2 has loaded batches, and its declaration changed since: column memo changed; " in message
    assert (
        "write version=3 in include/etl/catalog/entities/merchants.py, run `sluice migrate`, and `sluice rep" in message
    )
    following = replace(changed, version=3)
    assert migrations.plan(db, [following]).is_open
    assert told(db, following) == ["core.merchants: `sluice replay merchants` brings the rows to version 3"]
    assert not migrations.plan(db, [following]).is_open


def test_a_statement_of_an_entitys_own_file_takes_the_place_of_the_composed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Statement("select 'own'")
    monkeypatch.setattr(entity_statements, "_find_own", lambda _: {"merge": own})
    statements = EntityStatements(TRANSACTIONS)
    assert statements["merge"] is own
    assert "remove" in statements


def test_an_entity_may_know_that_a_row_is_closed_although_the_snapshot_has_it(
    monkeypatch: pytest.MonkeyPatch, db: Connection, rows: Rows
) -> None:
    own = Statement("select '2026-11-01'::date as closed_on where i.account_id = 'old' -- replaced")
    monkeypatch.setattr(entity_statements, "_find_own", lambda _: {"closed_on": own})
    db.execute("set session_replication_role = replica")
    for day in (2, 3):
        with db.transaction():
            db.execute(create_staging_table(ACCOUNTS))
            db.execute(
                "insert into incoming (provider_account_id, account_id, removed, observed_at) "
                "select 1, unnest(array['old', 'new']), false, make_date(2026, 11, %s)",
                (day,),
            )
            counts = EntityStatements(ACCOUNTS)["merge"].dicts(db, {"raw_id": day})
        assert counts == [{"inserted": 2 if day == 2 else 0, "updated": 0, "superseded": 0}]
    closed = "select account_id, closed_on::text from core.accounts order by 1 desc"
    assert rows(closed) == [("old", "2026-11-01"), ("new", None)]
    monkeypatch.setattr(entity_statements, "_find_own", lambda _: {})
    with db.transaction():
        db.execute(create_staging_table(ACCOUNTS))
        db.execute(
            "insert into incoming (provider_account_id, account_id, removed, observed_at) "
            "values (1, 'old', false, now())"
        )
        assert EntityStatements(ACCOUNTS)["merge"].dicts(db, {"raw_id": 4})[0]["updated"] == 1
    assert rows(closed) == [("old", None), ("new", None)]
