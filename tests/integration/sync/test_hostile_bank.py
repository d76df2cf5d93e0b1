"""Whatever a hostile bank does and whichever steps are killed, the warehouse ends equal to what is true at the bank."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.sync.hostile.history import play
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline

HISTORIES = int(os.environ.get("HISTORIES", "20"))


@pytest.fixture(scope="module")
def hostile_bank() -> Iterator[OwnBank]:
    """Return a server whose bank each history replaces."""
    with OwnBank() as bank:
        yield bank


@pytest.fixture
def hostile_pipeline(pipeline: Pipeline, hostile_bank: OwnBank) -> Pipeline:
    """Return the steps of a sync, against the hostile bank."""
    pipeline.endpoint = hostile_bank.endpoint
    return pipeline


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_the_warehouse_ends_equal_to_what_is_true_at_the_bank(
    hostile_pipeline: Pipeline, hostile_bank: OwnBank, seed: int
) -> None:
    outcome = play(seed, hostile_pipeline, hostile_bank)
    assert outcome.differences == []
    assert outcome.rows > 0
