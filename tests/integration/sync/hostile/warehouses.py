"""A warehouse of its own for each history."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cryptography.fernet import Fernet
from psycopg.sql import SQL, Identifier
from upath import UPath

from etl.clients.rate_limits import Limiter
from etl.db import connection as warehouses
from etl.settings import Endpoint
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline


@contextmanager
def open_pipeline(seed: int, bank: OwnBank, *, server: Endpoint, template: str, limiter: Limiter) -> Iterator[Pipeline]:
    """Return the steps of a sync from a bank into an empty warehouse, which goes with the block.

    Parameters
    ----------
    server
        The Postgres server.
    template
        The database that is copied.
    """
    name = f"hostile_{seed}"
    with warehouses.connect(server) as db:
        db.execute(SQL("create database {} template {}").format(Identifier(name), Identifier(template)))
    with (
        tempfile.TemporaryDirectory(prefix="sluice-raw-") as root,
        warehouses.connect(replace(server, schema=name)) as db,
    ):
        cipher = TokenCipher([Fernet.generate_key().decode()])
        yield Pipeline(db, UPath(f"file://{root}"), cipher, bank.endpoint, limiter)
    with warehouses.connect(server) as db:
        db.execute(SQL("drop database {} with (force)").format(Identifier(name)))
