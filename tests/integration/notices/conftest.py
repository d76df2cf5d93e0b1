from __future__ import annotations

import pytest

from etl.stores.warehouse import Warehouse
from etl.wire.limits import Limiter
from tests.integration.notices.post import Post


@pytest.fixture
def post(warehouse: Warehouse, limiter: Limiter) -> Post:
    """Return the steps of a notice, with a mailbox in memory."""
    return Post(warehouse, limiter)
