"""An empty warehouse of a test's own, copied from one that is migrated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from psycopg.sql import SQL, Identifier

from etl.db.connection import connect
from etl.settings import Endpoint


@contextmanager
def copy_warehouse(server: Endpoint, template: str, name: str) -> Iterator[Endpoint]:
    """Copy the database `template` to `name`, which goes with the block: a server with hundreds is slow to remove."""
    copy = SQL("create database {} template {} strategy file_copy")
    with connect(server) as db:
        db.execute(copy.format(Identifier(name), Identifier(template)))
        try:
            yield replace(server, schema=name)
        finally:
            db.execute(SQL("drop database {} with (force)").format(Identifier(name)))
