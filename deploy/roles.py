"""Roles and databases of the stack's Postgres, created or updated at every start.

Each database is owned by a role of its own; besides the owner, only its readers may connect to it. A password that is
changed in `.env` takes effect at the next start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from etl.db.connection import connect_url

_MAINTENANCE_DATABASE = "postgres"
_READER_GRANTS = (
    "grant connect on database {database} to {reader}",
    "grant usage on schema public to {reader}",
    "grant select on all tables in schema public to {reader}",
    "alter default privileges for role {owner} in schema public grant select on tables to {reader}",
)


@dataclass(frozen=True)
class Database:
    """A database and the roles that may connect to it.

    Parameters
    ----------
    name
        Name of the database.
    owner
        Role that owns the database.
    password
        Password of the owner.
    readers
        Role that may read every existing and future table → its password.
    """

    name: str
    owner: str
    password: str = field(repr=False)
    readers: Mapping[str, str] = field(default_factory=dict, repr=False)


def ensure_roles_and_databases(server: str, databases: Sequence[Database]) -> None:
    """Create missing roles and databases, and update passwords and grants.

    Parameters
    ----------
    server
        URL of the server, with the credentials of a superuser and without a database.
    databases
        Every database that should exist, with its roles.
    """
    with connect_url(f"{server}/{_MAINTENANCE_DATABASE}") as connection:
        for database in databases:
            for role, password in {database.owner: database.password, **database.readers}.items():
                _ensure_role(connection, role, password)
            _ensure_database(connection, database)
    for database in databases:
        with connect_url(f"{server}/{database.name}") as connection:
            _grant_readers(connection, database)


def _ensure_role(connection: psycopg.Connection, role: str, password: str) -> None:
    exists = connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone()
    statement = "alter role {} login password {}" if exists else "create role {} login password {}"
    # Send the password's hash, so that a log of statements does not show the password.
    hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL(statement).format(sql.Identifier(role), sql.Literal(hashed)))


def _ensure_database(connection: psycopg.Connection, database: Database) -> None:
    name = sql.Identifier(database.name)
    if not connection.execute("select 1 from pg_database where datname = %s", (database.name,)).fetchone():
        statement = sql.SQL("create database {} owner {}")
        connection.execute(statement.format(name, sql.Identifier(database.owner)))
    connection.execute(sql.SQL("revoke all on database {} from public").format(name))


def _grant_readers(connection: psycopg.Connection, database: Database) -> None:
    for reader in database.readers:
        names = {"database": database.name, "owner": database.owner, "reader": reader}
        for statement in _READER_GRANTS:
            identifiers = {key: sql.Identifier(name) for key, name in names.items()}
            connection.execute(sql.SQL(statement).format(**identifiers))
