from __future__ import annotations

from collections.abc import Iterator

import pytest
from upath import UPath

from etl.settings import Endpoint
from etl.stores.tokens import TokenCipher
from etl.stores.warehouse import Warehouse
from etl.wire.limits import Limiter
from tests.integration.steps.pipeline import Pipeline
from tests.integration.steps.scripted_bank import ScriptedBank


@pytest.fixture
def pipeline(warehouse: Warehouse, root: UPath, cipher: TokenCipher, bank: Endpoint, limiter: Limiter) -> Pipeline:
    """Return the steps, against the sandbox bank."""
    return Pipeline(warehouse, root, cipher, bank, limiter)


@pytest.fixture
def scripted() -> Iterator[ScriptedBank]:
    """Return a bank that answers by a script."""
    with ScriptedBank() as bank:
        yield bank


@pytest.fixture
def moody(warehouse: Warehouse, root: UPath, cipher: TokenCipher, scripted: ScriptedBank, limiter: Limiter) -> Pipeline:
    """Return the steps, against the scripted bank."""
    return Pipeline(warehouse, root, cipher, Endpoint(scripted.url, login="id", password="secret"), limiter)
