"""A warehouse of before becomes the same as a new one, and keeps its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier

from etl.catalog.entities import ENTITIES
from etl.db import migrations
from etl.db.connection import Connection, connect
from etl.db.statements import SQL_ROOT, StatementFile
from etl.settings import Endpoint
from tests.integration.db.schema_snapshot import take_snapshot

NAMES = [entity.name for entity in ENTITIES]
ALL = sorted((SQL_ROOT / "schema").glob("*.sql"))
BEFORE = [path for path in ALL if path.stem < "0015"]
HERE = Path(__file__).parent
MIGRATIONS = StatementFile("db/migrations")
Rows = Callable[..., list[tuple[object, ...]]]
KEPT = (
    *("core.users", "core.provider_accounts", "core.accounts", "core.merchants", "notify.contacts"),
    *("etl.chunks", "etl.raw_batches", "etl.cursors", "etl.loads", "etl.replays", "etl.rejects", "etl.left_out"),
    "etl.clock_corrections",
)
"""Tables of which no migration removes a row."""


@pytest.fixture
def old(database: Endpoint, db: Connection) -> Iterator[Connection]:
    """Return a warehouse as it was before migration 0015, with rows."""
    name = f"{database.schema}_old"
    db.execute(SQL("create database {}").format(Identifier(name)))
    with connect(replace(database, schema=name)) as old_db:
        MIGRATIONS["create_table"].run(old_db)
        for path in BEFORE:
            old_db.execute(path.read_bytes())
            MIGRATIONS["record"].run(old_db, {"name": path.stem, "checksum": None})
        for file in ("entities_before_0015.sql", "warehouse_before_0015.sql"):
            old_db.execute((HERE / file).read_bytes())
        yield old_db


@pytest.fixture
def upgraded(old: Connection) -> Connection:
    """Return that warehouse, brought up to date."""
    assert migrations.migrate(old, ENTITIES) == [path.stem for path in ALL if path not in BEFORE]
    return old


def rows_of(db: Connection, text: str) -> list[tuple[object, ...]]:
    return db.execute(text.encode()).fetchall()


def test_an_upgraded_warehouse_has_the_schema_of_a_new_one(upgraded: Connection, db: Connection) -> None:
    new, old = take_snapshot(db), take_snapshot(upgraded)
    assert len(new) > 500
    assert sorted(old.keys() - new.keys()) == []
    assert sorted(new.keys() - old.keys()) == []
    assert {name: (old[name], new[name]) for name in new if old[name] != new[name]} == {}


@pytest.mark.parametrize(
    "change",
    [
        "alter table core.transactions add column extra text",
        "alter table core.accounts alter column mask set not null",
        "alter table core.provider_accounts alter column state_since drop default",
        "drop index core.transactions_dated",
        "alter table etl.loads drop constraint conservation",
        "drop trigger refers_when_inserted on core.transactions",
        "alter function core.check_references() set enable_nestloop = off",
        "comment on column core.accounts.raw_id is 'x'",
        "alter type notify.channel add value 'sms'",
        "create view core.everything as select t.amount from core.transactions as t",
        "alter table core.transactions_00 set (fillfactor = 50)",
    ],
)
def test_a_snapshot_shows_every_change_of_a_schema(db: Connection, change: str) -> None:
    before = take_snapshot(db)
    db.execute(change.encode())
    assert take_snapshot(db) != before


def test_an_upgrade_keeps_every_row_outside_of_transactions(old: Connection) -> None:
    counts = {table: rows_of(old, f"select count(*) from {table}") for table in KEPT}
    assert [(0,)] not in counts.values()
    migrations.migrate(old, ENTITIES)
    assert {table: rows_of(old, f"select count(*) from {table}") for table in KEPT} == counts


def test_an_upgrade_keeps_one_row_of_each_transaction_id_of_a_login(upgraded: Connection) -> None:
    assert rows_of(
        upgraded, "select provider_account_id, transaction_id, account_id from core.transactions order by 1, 2"
    ) == [
        (1, "both ended", "savings"),
        (1, "ended", "checking"),
        (1, "live", "checking"),
        (1, "moved", "savings"),
        (1, "same instant", "savings"),
        (1, "single", "checking"),
        (2, "feed due", "checking"),
        (2, "moved", "checking"),
        (2, "window due", "checking"),
        (2, "window ended", "checking"),
        (2, "window posted", "checking"),
        (2, "window young", "checking"),
    ]
    assert rows_of(upgraded, "select distinct description from core.transactions") == [("stays",)]
    assert rows_of(
        upgraded,
        "select amount::text, currency, removed_for, observed_at = '2026-01-10Z', raw_id, outdated_at "
        "from core.transactions where transaction_id = 'ended'",
    ) == [("1.2000000000", "USD", "withdrawn", True, 1, None)]


def test_an_upgrade_withdraws_the_old_pending_rows_of_windows_and_no_others(upgraded: Connection) -> None:
    assert rows_of(
        upgraded,
        "select transaction_id, removed_for, removed_at = observed_at, removed_at > now() - interval '1 hour', raw_id "
        "from core.transactions where provider_account_id = 2 and removed_at is not null order by 1",
    ) == [("window due", "withdrawn", True, True, 3), ("window ended", "posted", True, False, 3)]
    assert rows_of(upgraded, "select count(*) from core.transactions_history") == [(0,)]


def test_an_upgrade_has_stopped_logins_tried_again(upgraded: Connection) -> None:
    assert rows_of(
        upgraded,
        "select provider_account_id, state, state_reason, state_since::date::text, next_try_at <= now(), access_token "
        "from core.provider_accounts order by 1",
    ) == [
        (1, "active", None, "2026-01-01", None, b"\x01"),
        (2, "needs_login", "ITEM_LOGIN_REQUIRED", "2026-02-01", True, b"\x02"),
        (3, "needs_login", None, "2026-02-02", True, b"\x03"),
    ]


def test_an_upgrade_leaves_rejects_open_and_counts_as_they_were(upgraded: Connection) -> None:
    assert rows_of(upgraded, "select path, reason, closed_at from etl.rejects order by reject_id") == [
        ("added[3].amount", "not a number", None),
        ("added[4].amount", "not a number", None),
    ]
    for table in ("loads", "replays"):
        assert rows_of(upgraded, f"select read, rejected, quarantined from etl.{table}") == [(12, 2, 0)]
    assert rows_of(upgraded, "select value, generation from etl.cursors order by provider_account_id") == [
        ("c1", 0),
        ("", 0),
    ]


def test_an_upgrade_of_an_empty_warehouse_without_entities_works(old: Connection, db: Connection) -> None:
    old.execute("drop schema core, etl, notify, sluice cascade")
    MIGRATIONS["create_table"].run(old)
    for path in BEFORE:
        old.execute(path.read_bytes())
        MIGRATIONS["record"].run(old, {"name": path.stem, "checksum": None})
    migrations.migrate(old, ENTITIES)
    assert take_snapshot(old) == take_snapshot(db)


def test_suppressions_that_are_one_mailbox_become_one_and_the_first_reason_stays(upgraded: Connection) -> None:
    assert rows_of(upgraded, "select address, reason from notify.suppressions order by address") == [
        ("eve@example.com", "asked"),
        ("joe@xn--bcher-kva.example", "complained"),
    ]


def test_an_address_that_had_ended_has_an_event_that_says_why(upgraded: Connection) -> None:
    query = "select c.address, e.event, e.reason from notify.contact_events as e "
    assert rows_of(upgraded, f"{query} inner join notify.contacts as c using (contact_id)") == [
        ("gone@example.com", "ended", "550")
    ]
