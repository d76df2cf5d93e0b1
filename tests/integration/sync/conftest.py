from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg.sql import SQL, Identifier
from upath import UPath

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection, connect
from etl.settings import Endpoint
from etl.sync.store.token_cipher import TokenCipher
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank


@pytest.fixture
def scripted() -> Iterator[ScriptedBank]:
    """Return a bank that answers by a script."""
    with ScriptedBank() as bank:
        yield bank


@pytest.fixture
def moody(db: Connection, root: UPath, cipher: TokenCipher, scripted: ScriptedBank, limiter: Limiter) -> Pipeline:
    """Return the steps, against the scripted bank."""
    return Pipeline(db, root, cipher, Endpoint(scripted.url, login="id", password="secret"), limiter)


@pytest.fixture
def own_bank() -> Iterator[OwnBank]:
    """Return a sandbox bank of the test's own."""
    with OwnBank() as bank:
        yield bank


@pytest.fixture
def disturbed(db: Connection, root: UPath, cipher: TokenCipher, own_bank: OwnBank, limiter: Limiter) -> Pipeline:
    """Return the steps, against the test's own bank."""
    return Pipeline(db, root, cipher, own_bank.endpoint, limiter)


@pytest.fixture
def undisturbed(disturbed: Pipeline, database: Endpoint, template: str) -> Iterator[Pipeline]:
    """Return the steps, against the same bank and into another warehouse."""
    other = f"{database.schema}_undisturbed"
    disturbed.db.execute(SQL("create database {} template {}").format(Identifier(other), Identifier(template)))
    with connect(replace(database, schema=other)) as db:
        yield replace(disturbed, db=db, root=disturbed.root / "undisturbed")
