from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import pytest
from upath import UPath

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection, connect
from etl.settings import Endpoint
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.api_server import ApiServer, Received, Reply
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank
from tests.integration.warehouse_copy import copy_warehouse


class Responder(Protocol):
    """A bank that answers each request by itself."""

    def respond(self, request: Received) -> Reply:
        """Return the answer to a request."""


@pytest.fixture
def api(bank: Responder) -> Iterator[ApiServer]:
    """Return a server for the fixture `bank` of a test's own file."""
    with ApiServer(bank.respond) as api:
        yield api


@pytest.fixture
def scripted_bank() -> Iterator[ScriptedBank]:
    """Return a bank that answers from a script."""
    with ScriptedBank() as bank:
        yield bank


@pytest.fixture
def scripted_pipeline(
    db: Connection, root: UPath, cipher: TokenCipher, scripted_bank: ScriptedBank, limiter: Limiter
) -> Pipeline:
    """Return the steps of a sync, run against the scripted bank."""
    return Pipeline(db, root, cipher, Endpoint(scripted_bank.url, login="id", password="secret"), limiter)


@pytest.fixture
def own_bank() -> Iterator[OwnBank]:
    """Return a sandbox bank for this test only."""
    with OwnBank() as bank:
        yield bank


@pytest.fixture
def own_bank_pipeline(
    db: Connection, root: UPath, cipher: TokenCipher, own_bank: OwnBank, limiter: Limiter
) -> Pipeline:
    """Return the steps of a sync, run against the bank of this test."""
    return Pipeline(db, root, cipher, own_bank.endpoint, limiter)


@pytest.fixture
def reference_pipeline(own_bank_pipeline: Pipeline, database: Endpoint, template: str) -> Iterator[Pipeline]:
    """Return the steps of a sync from the same bank into another warehouse, for comparison."""
    with (
        copy_warehouse(database, template, f"{database.schema}_reference") as reference,
        connect(reference) as db,
    ):
        yield replace(own_bank_pipeline, db=db, root=own_bank_pipeline.root / "reference")
