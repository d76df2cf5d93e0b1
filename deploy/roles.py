"""The roles and databases of the stack's Postgres: who may do what, made so at every start.

Each database belongs to a role of its own, and nobody else may connect to it; what only reads Airflow's database has a
third. A password that was changed in `.env` counts from the next start on.
"""

from collections.abc import Mapping

import psycopg
from psycopg import sql

WAREHOUSE = "sluice"
AIRFLOW = "airflow"
READER = "airflow_reader"

OWNERS = {WAREHOUSE: WAREHOUSE, AIRFLOW: AIRFLOW}
"""Database → role."""


def make(server: str, passwords: Mapping[str, str]) -> None:
    """Make roles and databases what they should be.

    Parameters
    ----------
    server
        URL of the server and its superuser, without a database.
    passwords
        Role → password.
    """
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        for role, password in passwords.items():
            _role(connection, role, password)
        for database, owner in OWNERS.items():
            _database(connection, database, owner)
        connection.execute(
            sql.SQL("grant connect on database {} to {}").format(sql.Identifier(AIRFLOW), sql.Identifier(READER))
        )
    with psycopg.connect(f"{server}/{AIRFLOW}", autocommit=True) as connection:
        _reads(connection, READER, of=AIRFLOW)


def _role(connection: psycopg.Connection, role: str, password: str) -> None:
    found = connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone()
    statement = "alter role {} login password {}" if found else "create role {} login password {}"
    # Its hash, not the password, so that a log of statements would not show it.
    hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL(statement).format(sql.Identifier(role), sql.Literal(hashed)))


def _database(connection: psycopg.Connection, database: str, owner: str) -> None:
    if not connection.execute("select 1 from pg_database where datname = %s", (database,)).fetchone():
        statement = sql.SQL("create database {} owner {}")
        connection.execute(statement.format(sql.Identifier(database), sql.Identifier(owner)))
    connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))


def _reads(connection: psycopg.Connection, reader: str, *, of: str) -> None:
    names = {"reader": sql.Identifier(reader), "owner": sql.Identifier(of)}
    for statement in (
        "grant usage on schema public to {reader}",
        "grant select on all tables in schema public to {reader}",
        "alter default privileges for role {owner} in schema public grant select on tables to {reader}",
    ):
        connection.execute(sql.SQL(statement).format(**names))
