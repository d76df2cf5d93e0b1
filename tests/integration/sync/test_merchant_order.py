"""A merchant is named by the latest transaction that names it, in whatever order batches arrive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations

import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.sync.load import load
from etl.sync.replay import replay
from etl.sync.transform import transform
from tests.integration.sync.pipeline import FIRST, Pipeline
from tests.integration.sync.test_entities import counterparty
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
HOUR = timedelta(hours=1)
NAMINGS = (("Old", "2026-11-01", 3), ("Today", "2026-11-20", 1), ("Undated", None, 4), ("Corrected", "2026-11-20", 2))
"""Name, date of the transaction, hour of its observation."""


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


def test_a_merchant_is_named_by_the_latest_transaction_in_whatever_order_batches_are_loaded_and_replayed(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    raw_ids = [
        pipeline.seal_pages(
            (account, page(added=[transaction(date=date, counterparties=[counterparty("m", name)])])),
            run_id=name,
            at=FIRST + hour * HOUR,
        )
        for name, date, hour in NAMINGS
    ]
    for raw_id in raw_ids:
        transform(MERCHANTS, raw_id, db=pipeline.db, root=pipeline.root)
    results = set()
    for order in permutations(raw_ids):
        pipeline.db.execute("truncate core.merchants, etl.loads, etl.replays")
        for raw_id in order:
            load(MERCHANTS, raw_id, db=pipeline.db, root=pipeline.root)
        results.update(rows("select name, named_on::text, observed_at, raw_id from core.merchants"))
        for raw_id in reversed(order):
            replay(MERCHANTS, raw_id, db=pipeline.db, root=pipeline.root)
        results.update(rows("select name, named_on::text, observed_at, raw_id from core.merchants"))
    assert results == {("Corrected", "2026-11-20", FIRST + 2 * HOUR, raw_ids[3])}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in their order", "the later one first"])
def test_a_date_in_the_future_counts_as_the_day_of_its_observation(
    pipeline: Pipeline, rows: Rows, account: int, order: tuple[int, int]
) -> None:
    raw_ids = [
        pipeline.seal_pages(
            (account, page(added=[transaction(date=date, counterparties=[counterparty("m", name)])])),
            run_id=name,
            at=FIRST + hour * HOUR,
        )
        for name, date, hour in (("Bogus", "9999-12-31", 0), ("Real", "2026-11-21", 30))
    ]
    for position in order:
        transform(MERCHANTS, raw_ids[position], db=pipeline.db, root=pipeline.root)
        load(MERCHANTS, raw_ids[position], db=pipeline.db, root=pipeline.root)
    assert rows("select name from core.merchants") == [("Real",)]


def test_a_batch_of_many_days_names_a_merchant_by_the_latest_of_them(
    pipeline: Pipeline, rows: Rows, account: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.sync.transform.BLOCK_SIZE", 1)
    dates = ["2026-11-03", "2026-11-20", "2026-11-20", "2026-11-01"]
    pages = [
        (account, page(added=[transaction(date=date, counterparties=[counterparty("m", f"{number}")])]))
        for number, date in enumerate(dates)
    ]
    raw_id = pipeline.seal_pages(*pages)
    transform(MERCHANTS, raw_id, db=pipeline.db, root=pipeline.root)
    counts = load(MERCHANTS, raw_id, db=pipeline.db, root=pipeline.root)
    assert (counts.inserted, counts.superseded) == (1, 3)
    assert rows("select name, named_on::text from core.merchants") == [("2", "2026-11-20")]
