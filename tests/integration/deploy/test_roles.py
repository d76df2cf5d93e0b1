from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from deploy.roles import Database, ensure_roles_and_databases
from dev.stack.stack import Stack

_ordinals = count(1)


@pytest.fixture(scope="module")
def superuser(stack: Stack) -> str:
    return stack.warehouse_url.rpartition("/")[0]


@pytest.fixture
def databases() -> tuple[Database, Database]:
    tag = next(_ordinals)
    return (
        Database(f"accounts_{tag}", f"clerk_{tag}", "of-the-clerk"),
        Database(f"records_{tag}", f"keeper_{tag}", "of-the-keeper", {f"reader_{tag}": "of-the-reader"}),
    )


def connect(superuser: str, database: str, role: str, password: str) -> psycopg.Connection:
    address = superuser.rpartition("@")[2]
    return psycopg.connect(f"postgresql://{role}:{password}@{address}/{database}", autocommit=True)


def single_reader(readers: Mapping[str, str]) -> tuple[str, str]:
    ((role, password),) = readers.items()
    return role, password


def test_owner_has_all_rights_in_its_database_and_cannot_connect_to_others(
    superuser: str, databases: tuple[Database, Database]
) -> None:
    ensure_roles_and_databases(superuser, databases)
    own, other = databases
    with connect(superuser, own.name, own.owner, own.password) as connection:
        connection.execute("create schema a create table b (c int)")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(superuser, other.name, own.owner, own.password)


def test_reader_can_select_from_later_tables_and_change_none(
    superuser: str, databases: tuple[Database, Database]
) -> None:
    ensure_roles_and_databases(superuser, databases)
    _, records = databases
    with connect(superuser, records.name, records.owner, records.password) as connection:
        connection.execute("create table later as select 1 as one")
    with connect(superuser, records.name, *single_reader(records.readers)) as connection:
        assert connection.execute("select one from later").fetchall() == [(1,)]
        with pytest.raises(InsufficientPrivilege):
            connection.execute("delete from later")
        with pytest.raises(InsufficientPrivilege):
            connection.execute("create table own (a int)")


def test_changed_password_takes_effect_at_the_next_start_and_data_stays(
    superuser: str, databases: tuple[Database, Database]
) -> None:
    ensure_roles_and_databases(superuser, databases)
    _, records = databases
    with connect(superuser, records.name, records.owner, records.password) as connection:
        connection.execute("create table kept as select 1 as one")
    changed = replace(records, password="another", readers=dict.fromkeys(records.readers, "another"))
    ensure_roles_and_databases(superuser, (changed,))
    with connect(superuser, records.name, *single_reader(changed.readers)) as connection:
        assert connection.execute("select one from kept").fetchall() == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(superuser, records.name, records.owner, records.password)
