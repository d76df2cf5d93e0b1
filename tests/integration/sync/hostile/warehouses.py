"""A warehouse of its own for each history."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.fernet import Fernet
from upath import UPath

from etl.clients.rate_limits import Limiter
from etl.db.connection import connect
from etl.settings import Endpoint
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline
from tests.integration.warehouse_copy import copy_warehouse


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
    with (
        copy_warehouse(server, template, f"hostile_{seed}") as warehouse,
        tempfile.TemporaryDirectory(prefix="sluice-raw-") as root,
        connect(warehouse) as db,
    ):
        cipher = TokenCipher([Fernet.generate_key().decode()])
        yield Pipeline(db, UPath(f"file://{root}"), cipher, bank.endpoint, limiter)
