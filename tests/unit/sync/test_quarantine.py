from dataclasses import replace

import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.sync.merging.quarantine import exceeds


@pytest.mark.parametrize(
    ("read", "rejected", "is_exceeded"),
    [(20, 20, False), (30, 21, True), (400, 20, False), (1_000, 50, False), (1_000, 51, True), (0, 0, False)],
)
def test_a_login_exceeds_both_the_share_and_the_number_that_are_tolerated(
    *, read: int, rejected: int, is_exceeded: bool
) -> None:
    assert exceeds(TRANSACTIONS, read=read, rejected=rejected) is is_exceeded


def test_records_of_raw_batches_of_another_entity_never_hold_a_login_back() -> None:
    strict = replace(MERCHANTS, always_tolerated=0, tolerated_rejects=0.0)
    assert not exceeds(strict, read=100, rejected=100)
