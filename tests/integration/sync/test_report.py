"""What the report of a run says of the logins that were not loaded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.alerts.context import CallbackRun, logins_by_outcome
from etl.sync.drain.outcome import AccountOutcome
from etl.sync.store import interruptions
from tests.integration.sync.pipeline import Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OUTCOMES = sorted({outcome.value for outcome in AccountOutcome} - {AccountOutcome.DRAINED.value} | {"stale"})
"""What `etl.left_out` can hold: the downloads' outcomes, and that of a load that another one overtook."""


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_of_a_login_that_was_left_out_is_counted_and_warned_of(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture, outcome: str
) -> None:
    (account,) = pipeline.enrol("one")
    pipeline.seal_pages((account, page(added=[transaction()])))
    pipeline.report("by hand")
    assert "left out" not in caplog.text
    pipeline.db.execute(
        "insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason) "
        "select chunk_id, attempts, %s, %s, 'CODE' from etl.chunks",
        [account, outcome],
    )
    counts = pipeline.report("by hand")
    assert counts[f"accounts_{outcome}"] == 1
    assert f"left out logins, see etl.left_out: {{'accounts_{outcome}': 1}}" in caplog.text


def test_quarantined_logins_are_counted_and_those_that_killed_the_process_are_told_apart(pipeline: Pipeline) -> None:
    bad, killed, good = pipeline.enrol("bad", "killed", "good")
    rejected = [transaction(transaction_id=f"b{number}", iso_currency_code="???") for number in range(30)]
    raw_id = pipeline.seal_pages((bad, page(added=rejected)), (good, page(added=[transaction()])))
    pipeline.load(raw_id)
    interruptions.quarantine(pipeline.db, killed, entity="transactions", source="transactions_sync", raw_id=raw_id)
    assert pipeline.report("by hand")["accounts_quarantined"] == 2
    run = CallbackRun("etl_transactions", "by hand", "scheduled", "running", "", entity=pipeline.entity)
    _, *skipped = logins_by_outcome(run, db=pipeline.db)
    assert [(each.outcome, each.reason, each.logins) for each in skipped] == [
        ("quarantined", "killed the process", 1),
        ("quarantined", "", 1),
    ]
    assert ["sluice quarantine show" in each.remedy for each in skipped] == [True, False]
