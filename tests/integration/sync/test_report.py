"""What the report of a run says of the logins that were not loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.alerts.context import CallbackRun, logins_by_outcome
from etl.db import migrations
from etl.db.tables import empty_columns
from etl.declare.entity import Column, ColumnType
from etl.sync.drain.outcome import AccountOutcome
from etl.sync.store import interruptions
from tests.integration.sync.pipeline import LATER, Pipeline
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


EMPTY = (
    Column("memo", ColumnType.TEXT, path="details.memmo", required=False),
    Column("kind", ColumnType.TEXT, path="typ", required=False, default="payment"),
    Column("payee", ColumnType.TEXT, path="payeee", required=False, otherwise="description"),
)
"""A column whose path no record has, and two that have a value all the same."""


def report_first_run(pipeline: Pipeline, *, records: int) -> dict[str, int]:
    """Return the report of the first run of an entity with the columns `EMPTY`."""
    pipeline.entity = replace(pipeline.entity, columns=(*pipeline.entity.columns, *EMPTY), version=9)
    migrations.migrate(pipeline.db, [pipeline.entity])
    (account,) = pipeline.enrol("one")
    added = [transaction(transaction_id=f"t{number}") for number in range(records)]
    pipeline.load(pipeline.seal_pages((account, page(added=added))))
    return pipeline.report("by hand")


def test_the_first_run_warns_of_the_optional_columns_that_are_null_in_every_row(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    counts = report_first_run(pipeline, records=20)
    (warning,) = (record.getMessage() for record in caplog.records if "null in each" in record.getMessage())
    assert warning.startswith("transactions: run by hand: null in each of 20 rows: ")
    assert "memo (path details.memmo)" in warning
    assert counts["columns_without_values"] == warning.count("(path ")
    assert not any(name in warning for name in ("kind", "payee", "description", "currency"))


def test_a_later_run_does_not_warn_of_them_again(pipeline: Pipeline) -> None:
    report_first_run(pipeline, records=20)
    (account,) = pipeline.db.execute("select provider_account_id from core.provider_accounts").fetchone() or ()
    raw_id = pipeline.seal_pages((account, page(added=[transaction()])), run_id="later", moves="a>b", at=LATER)
    pipeline.load(raw_id)
    assert "columns_without_values" not in pipeline.report("later")


def test_too_few_rows_tell_nothing_of_a_column(pipeline: Pipeline) -> None:
    assert "columns_without_values" not in report_first_run(pipeline, records=19)


def test_after_a_replay_only_the_columns_that_the_version_added_are_judged(pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    added = [transaction(transaction_id=f"t{number}") for number in range(20)]
    raw_id = pipeline.seal_pages((account, page(added=added)))
    pipeline.load(raw_id)
    pipeline.entity = replace(
        pipeline.entity, columns=(*pipeline.entity.columns, *EMPTY), version=pipeline.entity.version + 1
    )
    migrations.migrate(pipeline.db, [pipeline.entity])
    pipeline.replay(raw_id)
    found = empty_columns.find_added(pipeline.db, pipeline.entity)
    assert found is not None
    assert [column.name for column in found.columns] == ["memo"]
