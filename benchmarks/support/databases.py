"""Temporary databases on a running Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from psycopg.sql import SQL, Identifier

from etl.db.connection import connect
from etl.settings import Endpoint

TEMPLATE = "benchmark_template"
"""Name of the database that each repetition copies."""


@contextmanager
def temporary(server: Endpoint, name: str, *, template: str = "template1") -> Iterator[Endpoint]:
    """Create a database, and drop it when the block ends."""
    with connect(server) as db:
        create = SQL("create database {} template {}").format(Identifier(name), Identifier(template))
        db.execute(create)
        try:
            yield replace(server, schema=name)
        finally:
            db.execute(SQL("drop database {} with (force)").format(Identifier(name)))
