"""Databases of a Postgres server, embedded or named by the caller."""

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from dev.servers.errors import DatabaseRefused, ServerUnreachable
from etl.db.connection import connect_url

_CONNECT_SECONDS = 5


def connect(url: str) -> psycopg.Connection:
    """Open an autocommit connection; it fails within seconds if the server does not answer."""
    return connect_url(url, connect_seconds=_CONNECT_SECONDS)


def is_reachable(url: str) -> bool:
    """Return whether a server accepts its user."""
    try:
        with connect(url):
            return True
    except psycopg.OperationalError:
        return False


def require_reachable(url: str, *, name: str) -> None:
    """Raise unless a server that the caller named accepts its user.

    Parameters
    ----------
    url
        Its URL.
    name
        The variable that holds the URL.

    Raises
    ------
    ServerUnreachable
        If it does not; the message has host and port, never the password.
    """
    try:
        with connect(url):
            return
    except psycopg.OperationalError as error:
        raise ServerUnreachable(name, address(url), _reason(error)) from None


def create_if_absent(url: str, database: str) -> None:
    """Create a database on the server of `url` unless it exists.

    Raises
    ------
    DatabaseRefused
        If the user may not create it.
    """
    with connect(url) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", (database,)).fetchone():
            return
        try:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseRefused(database, address(url), connection.info.user) from None


def read_comment(url: str) -> str | None:
    """Return the comment on the database of `url`."""
    with connect(url) as connection:
        row = connection.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()"
        ).fetchone()
    return None if row is None else row[0]


def write_comment(url: str, text: str) -> None:
    """Set the comment on the database of `url`, if its user may."""
    with connect(url) as connection:
        statement = sql.SQL("comment on database {} is {}").format(
            sql.Identifier(connection.info.dbname), sql.Literal(text)
        )
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return


def address(url: str) -> str:
    """Return the `host:port` of a URL, for messages."""
    parts = conninfo_to_dict(url)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', '5432')}"


def _reason(error: psycopg.OperationalError) -> str:
    """Return the first line of the message of the server or libpq; neither contains a password."""
    text = str(error).strip()
    return text.splitlines()[0].removeprefix("connection failed: ") if text else type(error).__name__
