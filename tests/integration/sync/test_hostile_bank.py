"""Whatever a hostile bank does and whichever steps are killed, the warehouse ends equal to what is true at the bank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from dev.stack.stack import Stack
from etl.clients import rate_limits
from etl.settings import Endpoint
from tests.integration.sync.hostile.history import Outcome, missing_coverage, play
from tests.integration.sync.hostile.warehouses import open_pipeline
from tests.integration.sync.own_bank import OwnBank

HISTORIES = 20


@pytest.fixture(scope="module")
def outcome_of(stack: Stack, server: Endpoint, template: str) -> Iterator[Callable[[int], Outcome]]:
    """Return a function that plays the history of a seed, once."""
    limiter = rate_limits.connect(Endpoint.from_environment("limits", stack.environment))
    with OwnBank() as bank:

        @cache
        def play_seed(seed: int) -> Outcome:
            with open_pipeline(seed, bank, server=server, template=template, limiter=limiter) as pipeline:
                return play(seed, pipeline, bank)

        yield play_seed


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_the_warehouse_ends_equal_to_what_is_true_at_the_bank(outcome_of: Callable[[int], Outcome], seed: int) -> None:
    outcome = outcome_of(seed)
    assert outcome.differences == []
    assert outcome.rows > 0


def test_every_fault_struck_and_every_act_was_played(outcome_of: Callable[[int], Outcome]) -> None:
    assert missing_coverage([outcome_of(seed) for seed in range(HISTORIES)]) == []
