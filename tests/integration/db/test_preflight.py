"""Declarations against the schema of a warehouse: every statement is prepared, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from psycopg.sql import SQL

from etl import catalog_folder
from etl.catalog.entities import ENTITIES
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.notices import NOTICES
from etl.catalog.notices.fraud_alert.notice import FRAUD_ALERT
from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.catalog_folder import SHIPPED, SQL_ROOT, CatalogFolder
from etl.db import connection, migrations, statements
from etl.db.connection import Connection
from etl.db.tables import entity_statements
from etl.declare.entity import Entity
from etl.declare.notice import Notice
from etl.preflight.database import Preparation
from etl.settings import Endpoint
from tests.integration.db.test_tables import SHAPES

Rows = Callable[..., list[tuple[object, ...]]]


def check(db: Connection, *entities: Entity, notices: tuple[Notice, ...] = ()) -> list[str]:
    preparation = Preparation(db)
    preparation.check(entities, notices)
    assert preparation.unchecked == []
    return list(map(str, preparation.faults))


@pytest.fixture
def sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a copy of all SQL files, which are used instead."""
    copy = tmp_path / "sql"
    copytree(SQL_ROOT, copy)
    for module in (catalog_folder, statements):
        monkeypatch.setattr(module, "SQL_ROOT", copy)
    statements.statements.cache_clear()
    yield copy
    statements.statements.cache_clear()


def edit(path: Path, old: str, new: str) -> int:
    """Replace a text of a file, and return the line in which it stands."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def test_the_statements_of_the_catalogue_fit_the_schema_which_stays_as_it_is(db: Connection, rows: Rows) -> None:
    relations = "select oid, relname, relfilenode from pg_class where relnamespace::regnamespace::text !~ '^pg_toast'"
    before = rows(relations)
    assert check(db, *ENTITIES, notices=NOTICES) == []
    assert rows(relations) == before


@pytest.mark.parametrize("entity", SHAPES, ids=lambda entity: entity.name)
def test_the_statements_that_are_composed_for_an_entity_fit_its_table(db: Connection, entity: Entity) -> None:
    migrations.migrate(db, [entity])
    assert check(db, entity) == []


def test_an_entity_without_a_table_has_one_fault_and_its_neighbours_none(db: Connection) -> None:
    assert check(db, replace(ACCOUNTS, name="savings"), MERCHANTS) == [
        "include/etl/catalog/entities/savings.py: entity savings: core.savings does not exist; run `sluice migrate`"
    ]


def test_a_missing_column_is_one_fault_of_the_composed_statements_and_says_where(db: Connection) -> None:
    db.execute("alter table core.transactions rename column payment_channel to channel")
    (fault,) = check(db, *ENTITIES)
    assert fault.startswith(
        "include/etl/catalog/entities/transactions.py: entity transactions: the composed statement merge: column "
    )
    assert fault.endswith("; run `sluice migrate`, or fix what the declaration or its SQL file says")
    assert "payment_channel" in fault


def test_a_fault_of_an_own_statement_has_file_line_message_hint_and_remedy(db: Connection, sql: Path) -> None:
    line = edit(
        sql / "entities" / "transactions.ends.sql", "i.pending\n    and not exists", "i.pendin\n    and not exists"
    )
    (fault,) = check(db, *ENTITIES)
    assert fault == (
        f"{sql}/entities/transactions.ends.sql:{line}: statement drop_unconfirmed: column i.pendin does not exist "
        '(Perhaps you meant to reference the column "i.pending".); fix it, or run `sluice migrate` if the schema is '
        "older"
    )


def test_a_statement_may_read_the_temporary_table_that_another_one_creates(db: Connection, sql: Path) -> None:
    file = sql / "entities" / "transactions.replaced.sql"
    assert "from compared_rows" in file.read_text()
    assert check(db, TRANSACTIONS) == []
    edit(file, "create temp table compared_rows", "create temp table other_rows")
    assert any("compared_rows" in fault for fault in check(db, TRANSACTIONS))


def test_an_own_merge_is_prepared_with_both_look_ups(db: Connection, sql: Path) -> None:
    composed = entity_statements.EntityStatements(TRANSACTIONS)["merge"].as_string(None)
    file = sql / "entities" / "transactions.merge.sql"
    file.write_text(f"-- name: merge\n{composed}")
    statements.statements.cache_clear()
    assert check(db, TRANSACTIONS) == []
    file.write_text(f"-- name: merge\n{composed.replace('{existing}', 'select k.nowhere from ({existing}) as k')}")
    statements.statements.cache_clear()
    assert len(check(db, TRANSACTIONS)) == 2


def test_a_fault_in_a_part_of_a_notice_is_found_at_its_line(db: Connection, sql: Path) -> None:
    line = edit(sql / "notices" / "low_balance.sql", "a.type = 'depository'", "a.typ = 'depository'")
    faults = check(db, notices=(LOW_BALANCE, FRAUD_ALERT))
    assert [fault.partition(" (")[0] for fault in faults] == [
        f"{sql}/notices/low_balance.sql:{line}: statement {name}: column a.typ does not exist"
        for name in ("bounds", "recipients")
    ]


def test_a_position_must_be_a_whole_number(db: Connection, sql: Path) -> None:
    edit(sql / "notices" / "low_balance.sql", "    l.position,", "    l.position::text as position,")
    (fault,) = check(db, notices=(LOW_BALANCE,))
    assert fault.endswith(
        "statement recipients: it returns position as another type than bigint; write `position::bigint`"
    )


def test_a_template_that_cannot_take_the_type_of_a_column_is_a_fault(
    db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = tmp_path / "notices"
    copytree(SHIPPED / "notices", templates)
    monkeypatch.setattr(CatalogFolder, "template_folders", lambda _, name: (templates / name, templates))
    edit(templates / "low_balance" / "desktop.body.jinja", "threshold | money(currency)", "available | sanitize")
    (fault,) = check(db, notices=(LOW_BALANCE,))
    assert fault.startswith(f"{templates}/low_balance/desktop.body.jinja:1: notice low_balance: TypeError: ")


def test_a_read_only_session_checks_notices_and_says_what_it_cannot_check(database: Endpoint) -> None:
    read_only = replace(database, extra={**database.extra, "options": "-c default_transaction_read_only=on"})
    with connection.connect(read_only) as db:
        preparation = Preparation(db)
        preparation.check([MERCHANTS], NOTICES)
    assert preparation.faults == []
    (unchecked,) = preparation.unchecked
    assert unchecked.startswith(
        "entity merchants, whose statements need temporary tables; connect to the primary, with"
    )


def test_a_lock_that_is_not_granted_is_no_fault(db: Connection, connect: Callable[[], Connection]) -> None:
    other = connect()
    db.execute("set lock_timeout = 50")
    with other.transaction():
        other.execute(SQL("lock table core.merchants in access exclusive mode"))
        preparation = Preparation(db)
        preparation.check([MERCHANTS, ACCOUNTS], ())
    assert preparation.faults == []
    (unchecked,) = preparation.unchecked
    assert unchecked.startswith("entity merchants: ")
