"""The schema of the warehouse."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from etl.catalog.entities import ENTITIES
from etl.db import migrations
from etl.db.connection import Connection, WarehouseUnreachable, connect
from etl.db.statements import SQL_ROOT
from etl.settings import Endpoint

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


def test_logins_that_stopped_before_there_were_states_are_due_for_another_try(
    empty_database: Endpoint, rows: Callable[..., object]
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


def test_the_loads_table_refuses_counts_that_do_not_add_up(rows: Callable[..., object], db: Connection) -> None:
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
