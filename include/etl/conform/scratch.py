"""Scratch databases: empty warehouses beside the real one, in which the steps run, and what they hold then."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

import psycopg
from psycopg.sql import Identifier

from etl.db import connection as warehouses
from etl.db import migrations
from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.db.tables.layout import core_table
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.errors import PermanentError, SettingInvalid, SluiceError
from etl.settings import Endpoint

VICTIM_APPLICATION = "sluice-conform-step"
"""Name, in Postgres, of the connection of a step that will be killed."""

_SQL = StatementFile("conform/scratch")
_NUMBER = re.compile(r"\[\d+\]")
_POSTGRES_URL = re.compile(r"postgres(ql)?://[^/?#]")

Rows = dict[tuple[Any, ...], dict[str, Any]]
"""Login and key → row."""


class ScratchRefused(PermanentError):
    """The kit may not create databases."""

    def __init__(self, endpoint: Endpoint, detail: str) -> None:
        super().__init__(
            f"the server of {endpoint.schema!r} creates no scratch database: {detail}; grant CREATEDB to its user, or "
            "name another server with --database."
        )


class TablesRefused(PermanentError):
    """The tables of the entities cannot be created, so that none can be read."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"the tables of the entities cannot be created in an empty database: {detail} See the declarations, and "
            "include/sql/entities for what these entities have of their own."
        )


class ServerUrlInvalid(PermanentError):
    """What names the server of scratch databases is no URL of a Postgres; it may hold a password and is not shown."""

    def __init__(self) -> None:
        super().__init__("it is no URL of a Postgres; write postgresql://user:password@host:5432/database")


def parse_server(url: str) -> Endpoint:
    """Return the server of a URL.

    Raises
    ------
    ServerUrlInvalid
        If it is no URL of a Postgres.
    """
    if not _POSTGRES_URL.match(url):
        raise ServerUrlInvalid
    try:
        return Endpoint.from_environment("server", {"AIRFLOW_CONN_SERVER": url})
    except SettingInvalid:
        raise ServerUrlInvalid from None


@dataclass(frozen=True)
class Scratch:
    """Creates scratch databases.

    Parameters
    ----------
    server
        A database of the server; nothing in it is read or written.
    template
        A database with an empty warehouse.
    """

    server: Endpoint
    template: str

    @contextmanager
    def database(self) -> Iterator[Endpoint]:
        """Yield an empty warehouse, which goes with the block."""
        name = f"{self.template}_{token_hex(4)}"
        with warehouses.connect(self.server) as db:
            db.execute(_SQL["copy"].format(name=Identifier(name), template=Identifier(self.template)))
        try:
            yield replace(self.server, schema=name)
        finally:
            _drop(self.server, name)


@contextmanager
def open_scratch(server: Endpoint, entities: Iterable[Entity]) -> Iterator[Scratch]:
    """Yield scratch databases with the tables of some entities; all go with the block.

    Raises
    ------
    ScratchRefused
        If the user may not create databases.
    TablesRefused
        If a table cannot be created.
    """
    name = f"sluice_conform_{token_hex(4)}"
    with warehouses.connect(server) as db:
        try:
            db.execute(_SQL["create"].format(name=Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise ScratchRefused(server, str(error).splitlines()[0]) from None
    try:
        try:
            with warehouses.connect(replace(server, schema=name)) as db:
                migrations.migrate(db, entities)
        except SluiceError as error:
            raise TablesRefused(str(error)) from error
        yield Scratch(server, name)
    finally:
        _drop(server, name)


def rows_of(db: Connection, entity: Entity) -> Rows:
    """Return the live rows of an entity."""
    key = tuple(dict.fromkeys((PROVIDER_ACCOUNT, *entity.key))) if PROVIDER_ACCOUNT in entity.key else entity.key
    statement = _SQL["rows"].format(table=core_table(entity))
    rows = [json.loads(text) for (text,) in db.execute(statement).fetchall()]
    return {tuple(row[name] for name in key): row for row in rows}


def cursors_of(db: Connection, feed: str) -> dict[int, str]:
    """Return the cursor of each login."""
    return dict(_SQL["cursors"].rows(db, {"feed": feed}))


def rejects_of(db: Connection) -> list[tuple[str, int, str, str]]:
    """Return entity, login, path without its numbers, and rule of the open rejects."""
    rows = _SQL["rejects"].rows(db)
    return [(entity, login, _NUMBER.sub("[]", path), rule) for entity, login, path, rule in rows]


def left_out_of(db: Connection, *, entity: str, run_id: str) -> dict[int, tuple[str, str]]:
    """Return the logins that a run left out → outcome and reason."""
    rows = _SQL["left_out"].rows(db, {"entity": entity, "run_id": run_id})
    return {login: (outcome, reason) for login, outcome, reason in rows}


def quarantined(db: Connection, *, entity: str) -> set[int]:
    """Return the quarantined logins."""
    return set(_SQL["quarantined"].scalars(db, {"entity": entity}))


def lock(db: Connection, table: str) -> None:
    """Hold up whoever writes to a table, until the transaction ends."""
    schema, _, name = table.partition(".")
    db.execute(_SQL["lock"].format(table=Identifier(schema, name)))


def is_step_waiting(db: Connection) -> bool:
    """Return whether a step that will be killed waits for a lock."""
    return bool(_SQL["waits"].scalar(db, {"application": VICTIM_APPLICATION}))


def kill_step(db: Connection) -> int:
    """Cut the connections of a step, and return how many there were."""
    return int(_SQL["kill"].scalar(db, {"application": VICTIM_APPLICATION}))


def _drop(server: Endpoint, name: str) -> None:
    with warehouses.connect(server) as db:
        db.execute(_SQL["drop"].format(name=Identifier(name)))
