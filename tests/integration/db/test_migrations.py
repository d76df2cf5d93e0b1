"""The schema of the warehouse."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from etl.catalog.entities import ENTITIES
from etl.db import connection as warehouses
from etl.db import migrations
from etl.db.connection import Connection, WarehouseUnreachable, connect
from etl.db.migrations import IndexInvalid, MigrationEdited
from etl.db.statements import SQL_ROOT
from etl.db.timeouts import MIGRATION_TIMEOUTS
from etl.db.waits import WarehouseBusy
from etl.settings import Endpoint

Rows = Callable[..., list[tuple[object, ...]]]
ALL_MIGRATIONS = sorted(path.stem for path in (SQL_ROOT / "schema").glob("*.sql"))


@pytest.fixture
def empty_database(server: Endpoint, db: Connection) -> Endpoint:
    db.execute("drop schema core, etl, notify, sluice cascade")
    return replace(server, schema=db.info.dbname)


def test_migrating_twice_applies_everything_once(empty_database: Endpoint) -> None:
    with connect(empty_database) as db:
        assert migrations.migrate(db, ENTITIES) == ALL_MIGRATIONS
        assert migrations.migrate(db, ENTITIES) == []


def test_concurrent_migrations_apply_everything_once(empty_database: Endpoint) -> None:
    def migrate(_: int) -> list[str]:
        with connect(empty_database) as db:
            return migrations.migrate(db, ENTITIES)

    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, range(4)))
    assert sorted(applied) == [[], [], [], ALL_MIGRATIONS]


def test_a_file_that_was_edited_after_it_was_applied_is_refused_and_nothing_is_changed(
    db: Connection, tmp_path: Path, rows: Rows
) -> None:
    first = tmp_path / "9001_first.sql"
    first.write_text("create table core.first (n int);")
    assert migrations.migrate(db, [], folder=tmp_path) == ["9001_first"]
    assert migrations.migrate(db, [], folder=tmp_path) == []
    first.write_text("create table core.first (n int, m int);")
    (tmp_path / "9002_second.sql").write_text("create table core.second (n int);")
    with pytest.raises(
        MigrationEdited, match=r"9001_first\.sql \(applied 20..-..-..\): the file was edited .* new migra"
    ):
        migrations.migrate(db, [], folder=tmp_path)
    plan = migrations.plan(db, [], folder=tmp_path)
    assert ([each.name for each in plan.edited], plan.pending) == (["9001_first"], ["9002_second"])
    assert rows("select to_regclass('core.second')") == [(None,)]


def test_migrations_of_before_there_were_checksums_are_taken_as_they_are(db: Connection, rows: Rows) -> None:
    db.execute("alter table sluice.migrations drop column checksum")
    assert not migrations.plan(db, ENTITIES).is_open
    assert migrations.migrate(db, ENTITIES) == []
    assert rows("select count(*) from sluice.migrations where checksum is null") == [(0,)]
    db.execute("update sluice.migrations set checksum = 'other' where name = '0001_core'")
    with pytest.raises(MigrationEdited, match="0001_core"):
        migrations.migrate(db, ENTITIES)


OUTSIDE = """-- outside a transaction: an index that is built beside loads.
drop index concurrently if exists core.accounts_masks;
create index concurrently accounts_masks on core.accounts (mask);
-- The end.
"""


def test_a_file_may_run_outside_a_transaction_between_others(db: Connection, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "9001_before.sql").write_text("create table core.first (n int);")
    (tmp_path / "9002_outside.sql").write_text(OUTSIDE)
    (tmp_path / "9003_after.sql").write_text("alter index core.accounts_masks rename to accounts_by_mask;")
    names = ["9001_before", "9002_outside", "9003_after"]
    assert migrations.migrate(db, ENTITIES, folder=tmp_path) == names
    assert migrations.migrate(db, ENTITIES, folder=tmp_path) == []
    assert rows("select indisvalid from pg_index where indexrelid = 'core.accounts_by_mask'::regclass") == [(True,)]
    assert rows("show lock_timeout") == [("5min",)]


def test_an_index_whose_build_failed_is_named_and_built_by_the_next_try(
    db: Connection, tmp_path: Path, rows: Rows
) -> None:
    insert = "insert into core.users (reference) values (%s)"
    for reference in ("a", "aa"):
        db.execute(insert.encode(), (reference,))
    path = tmp_path / "9001_unique.sql"
    text = "-- outside a transaction\ncreate unique index concurrently {} on core.users (left(reference, 1));\n"
    path.write_text(text.format("if not exists users_letter"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        migrations.migrate(db, [], folder=tmp_path)
    with pytest.raises(
        IndexInvalid, match=r"core\.users_letter: the index is invalid.*`drop index concurrently core\."
    ):
        migrations.migrate(db, [], folder=tmp_path)
    db.execute("delete from core.users where reference = 'aa'")
    path.write_text(text.format("users_letter").replace("create", "drop index concurrently core.users_letter;\ncreate"))
    assert migrations.migrate(db, [], folder=tmp_path) == ["9001_unique"]


def test_a_migration_gives_way_to_who_holds_its_table_tells_who_that_is_and_tries_again(
    database: Endpoint, connect: Callable[[], Connection], tmp_path: Path
) -> None:
    (tmp_path / "9001_wide.sql").write_text("alter table core.accounts add column wide text;")
    holder, lines = connect(), list[str]()
    short = replace(MIGRATION_TIMEOUTS, lock=timedelta(milliseconds=400))

    def release(line: str) -> None:
        lines.append(line)
        holder.execute("rollback")

    holder.execute("begin; select * from core.accounts")
    with warehouses.connect(database, timeouts=short) as db:
        with pytest.raises(WarehouseBusy):
            migrations.migrate(db, [], folder=tmp_path, patience=timedelta())
        assert migrations.migrate(db, [], folder=tmp_path, warn=release) == ["9001_wide"]
    (line,) = lines
    assert line.startswith("waiting: the warehouse is busy")
    assert f"held by pid {holder.info.backend_pid}" in line
    assert line.endswith("Trying again in 1 s.")


def test_logins_that_stopped_before_there_were_states_are_due_for_another_try(
    empty_database: Endpoint, rows: Rows
) -> None:
    with connect(empty_database) as db:
        for name in ALL_MIGRATIONS:
            if name.startswith("0016"):
                db.execute("insert into core.users (reference) values ('ann')")
                db.execute(
                    "insert into core.provider_accounts "
                    "(user_id, provider, item_id, access_token, state, stopped_for, stopped_at, enrolled_at) values "
                    "(1, 'plaid', 'a', 'x', 'active', null, null, '2026-01-01'), "
                    "(1, 'plaid', 'b', 'x', 'stopped', 'ITEM_LOGIN_REQUIRED', '2026-02-01', '2026-01-01')"
                )
            db.execute((SQL_ROOT / "schema" / f"{name}.sql").read_bytes())
    assert rows(
        "select item_id, state, state_reason, (state_since at time zone 'utc')::date::text, next_try_at <= now(), "
        "failed_tries, token_version from core.provider_accounts order by 1"
    ) == [
        ("a", "active", None, "2026-01-01", None, 0, 1),
        ("b", "needs_login", "ITEM_LOGIN_REQUIRED", "2026-02-01", True, 0, 1),
    ]


def test_reopened_deliveries_of_before_there_were_deferrals_are_as_they_were_before_they_were_reopened(
    empty_database: Endpoint, rows: Rows
) -> None:
    with connect(empty_database) as db:
        for name in ALL_MIGRATIONS:
            if name.startswith("0036"):
                db.execute(
                    "insert into notify.notices (name) values ('n'); "
                    "insert into notify.runs (notice_id, period, trigger, as_of, parameters, pace) "
                    "values (1, 'p', 't', now(), '{}', 1); "
                    "insert into notify.chunks (run_id, ordinal, start, stop, recipients, position, sent, reopened, "
                    "walked_to, reopened_at, first_id, last_id) values (1, 0, 1, 4, 3, 0, 1, 2, 3, now(), 1, 3); "
                    "insert into notify.deliveries (user_id, run_id, channel, state, notice_id, ordinal, attempt, "
                    "doubts, dedupe_key, error_class) values (1, 1, 'email', 'sent', 1, 0, 1, 0, 'p', null), "
                    "(2, 1, 'email', 'reopened', 1, 0, 1, 0, 'p', '421'), "
                    "(3, 1, 'email', 'reopened', 1, 0, 1, 1, 'p', 'killed')"
                )
            db.execute((SQL_ROOT / "schema" / f"{name}.sql").read_bytes())
    assert rows("select user_id, state::text, error_class, ended_at is null from notify.deliveries order by 1") == [
        (1, "sent", None, True),
        (2, "failed", "421", False),
        (3, "unknown", "killed", False),
    ]
    assert rows("select position, sent, failed, unknown, deferred from notify.chunks") == [(3, 1, 1, 1, 0)]
    assert rows("select error_class, deliveries from notify.failures") == [("421", 1)]


def test_the_loads_table_refuses_counts_that_do_not_add_up(rows: Rows, db: Connection) -> None:
    db.execute("insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size) values ('e','r',0,1,2,1)")
    db.execute(
        "insert into etl.raw_batches (source, chunk_id, attempt, content_hash, path, accounts, pages, bytes) "
        "values ('f', 1, 1, '', '', 0, 0, 0)"
    )
    with pytest.raises(Exception, match="conservation"):
        db.execute("insert into etl.loads values (1, 'e', 1, 5, 1, 1, 1, 0, 0, 0, 0)")


def test_an_unreachable_warehouse_is_named_without_its_password() -> None:
    endpoint = Endpoint("127.0.0.1", 1, login="me", password="hunter2", schema="sluice")
    with (
        pytest.raises(WarehouseUnreachable, match=r"warehouse at 127\.0\.0\.1:1:") as raised,
        connect(endpoint),
    ):
        pass
    assert "hunter2" not in str(raised.value)
