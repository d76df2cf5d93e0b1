"""What people are told of a run's promise, and how often."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.alerts.alert import Failure, Kind, first_lines
from etl.alerts.context import Run
from etl.alerts.decide import Question, tell, tell_unkept
from etl.alerts.store import outbox, task_failures
from etl.alerts.store.outbox import Letter
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import Warehouse
from etl.errors import ProviderRefused

START = datetime(2026, 11, 24, tzinfo=UTC)
PROMISED_BY = START + timedelta(hours=2)
HALF = START + timedelta(hours=1)
RUN = Run("etl_transactions", "scheduled__1", "scheduled", "running", "http://ui/run", START, TRANSACTIONS)
Connect = Callable[[], Warehouse]
Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def planned(warehouse: Warehouse) -> Callable[[int], None]:
    """Return a function that plans four chunks, of which some are loaded."""

    def plan(loaded: int) -> None:
        warehouse.execute(
            "insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size, attempts) "
            "select 'transactions', 'scheduled__1', n, 1 + 50 * n, 51 + 50 * n, 500, 1 from generate_series(0, 3) as n"
        )
        warehouse.execute(
            "insert into etl.raw_batches (source, chunk_id, attempt, content_hash, path, accounts, pages, bytes) "
            "select 'transactions_sync', chunk_id, 1, '', '', 0, 0, 0 from etl.chunks where ordinal < %s",
            [loaded],
        )
        warehouse.execute(
            "insert into etl.loads select raw_id, 'transactions', 1, 0, 0, 0, 0, 0, 0, 0, 0 from etl.raw_batches"
        )

    return plan


def late(warehouse: Warehouse, kind: Kind, *, run: Run = RUN, after: timedelta = timedelta(hours=1)) -> Letter | None:
    return tell(Question(run, kind, START + after, PROMISED_BY), warehouse=warehouse, metadata=None)


def recovered(warehouse: Warehouse, *, run: Run = RUN) -> Letter | None:
    asked = Question(run, Kind.RECOVERED, PROMISED_BY + timedelta(minutes=5))
    return tell(asked, warehouse=warehouse, metadata=None)


def failed(warehouse: Warehouse, *, run: Run = RUN) -> Letter | None:
    return tell(Question(run, Kind.FAILED, HALF), warehouse=warehouse, metadata=None)


def missed(warehouse: Warehouse) -> Letter:
    letter = late(warehouse, Kind.MISSED, after=timedelta(hours=2))
    assert letter is not None
    return letter


def test_a_miss_is_foretold_from_the_chunks_that_are_loaded(
    warehouse: Warehouse, planned: Callable[[int], None]
) -> None:
    planned(1)
    letter = late(warehouse, Kind.FORECAST)
    assert letter is not None
    assert letter.subject == "etl_transactions is going to be late by about 2 h"
    assert "1 of 4 chunks loaded in 1 h" in letter.body


def test_nothing_is_foretold_of_a_run_at_its_pace(warehouse: Warehouse, planned: Callable[[int], None]) -> None:
    planned(3)
    assert late(warehouse, Kind.FORECAST) is None


def test_nothing_is_foretold_once_the_promise_is_over(warehouse: Warehouse, planned: Callable[[int], None]) -> None:
    planned(1)
    assert late(warehouse, Kind.FORECAST, after=timedelta(hours=2)) is None


def test_alerts_at_once_tell_each_kind_once(
    warehouse: Warehouse, connect: Connect, planned: Callable[[int], None], rows: Rows
) -> None:
    planned(1)
    connections = [connect() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        letters = list(threads.map(lambda connection: late(connection, Kind.FORECAST), connections))
    assert sum(letter is not None for letter in letters) == 1
    assert rows("select kind from etl.promises") == [("forecast",)]


@pytest.mark.parametrize("run_type", ["backfill", "manual", "asset_materialization"])
def test_nothing_is_told_of_runs_that_promise_nothing(
    warehouse: Warehouse, planned: Callable[[int], None], run_type: str
) -> None:
    planned(1)
    run = replace(RUN, run_type=run_type)
    assert late(warehouse, Kind.FORECAST, run=run) is None
    assert late(warehouse, Kind.MISSED, run=run, after=timedelta(hours=3)) is None
    assert failed(warehouse, run=run) is None
    missed(warehouse)
    assert recovered(warehouse, run=run) is None


def test_a_run_of_no_entity_is_told_with_what_is_known_of_it(warehouse: Warehouse) -> None:
    run = replace(RUN, dag_id="notify_monthly_report", entity=None)
    missed = late(warehouse, Kind.MISSED, run=run, after=timedelta(hours=2))
    assert missed is not None
    assert missed.subject == "notify_monthly_report is late"
    letter = failed(warehouse, run=run)
    assert letter is not None
    assert "they go on where they stopped, and no other run does it for them" in " ".join(letter.body.split())
    assert "Loaded" not in letter.body


@pytest.mark.parametrize("state", ["success", "failed"])
def test_nothing_is_told_late_of_a_run_that_ended(warehouse: Warehouse, state: str) -> None:
    assert late(warehouse, Kind.MISSED, run=replace(RUN, state=state), after=timedelta(hours=3)) is None


def test_a_failed_run_is_told_with_its_errors_and_nothing_of_its_promise_after(warehouse: Warehouse) -> None:
    error = ProviderRefused("plaid", "answered INVALID_API_KEYS")
    failure = Failure("chunk.download", 2, 1, "ProviderRefused", first_lines(str(error), type(error)))
    task_failures.keep(
        warehouse, replace(failure, attempt=0, message="an attempt before"), dag_id=RUN.dag_id, run_id=RUN.run_id
    )
    task_failures.keep(warehouse, failure, dag_id=RUN.dag_id, run_id=RUN.run_id)
    letter = failed(warehouse)
    assert letter is not None
    assert letter.subject == "etl_transactions failed: ProviderRefused from download"
    assert "download, chunk 3: ProviderRefused" in letter.body
    assert "INVALID_API_KEYS" in letter.body
    assert "an attempt before" not in letter.body
    assert late(warehouse, Kind.MISSED, after=timedelta(hours=3)) is None
    assert failed(warehouse) is None


def test_a_run_that_failed_by_no_task_says_why_instead(warehouse: Warehouse) -> None:
    asked = Question(RUN, Kind.FAILED, HALF, reason="timed_out")
    letter = tell(asked, warehouse=warehouse, metadata=None)
    assert letter is not None
    assert letter.subject == "etl_transactions failed: timed out"


def test_rejects_of_the_run_are_counted_by_rule(warehouse: Warehouse, planned: Callable[[int], None]) -> None:
    planned(2)
    warehouse.execute(
        "insert into etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) "
        "select raw_id, 'transactions', 1, 1, 0, '', 'iso4217', 'Jane' from etl.raw_batches"
    )
    letter = failed(warehouse)
    assert letter is not None
    assert "2 by iso4217" in letter.body
    assert "Jane" not in letter.body


def test_a_recovery_is_told_only_to_those_who_were_warned(warehouse: Warehouse) -> None:
    assert recovered(warehouse) is None
    outbox.sent(warehouse, missed(warehouse))
    letter = recovered(warehouse)
    assert letter is not None
    assert letter.subject == "etl_transactions is done, 5 min late"
    assert recovered(warehouse) is None


def test_a_forecast_that_could_not_be_sent_is_let_go_once_the_run_is_done(
    warehouse: Warehouse, planned: Callable[[int], None]
) -> None:
    planned(1)
    letter = late(warehouse, Kind.FORECAST)
    assert letter is not None
    outbox.unsent(warehouse, letter, "no answer")
    assert recovered(warehouse) is None
    assert outbox.retake(warehouse) == []


def test_a_miss_that_could_not_be_sent_is_told_with_the_recovery_alone(warehouse: Warehouse) -> None:
    outbox.unsent(warehouse, missed(warehouse), "no answer")
    assert recovered(warehouse) is not None
    assert outbox.retake(warehouse) == []


def test_a_mail_that_could_not_be_sent_is_sent_with_the_next_alert_under_its_old_name(warehouse: Warehouse) -> None:
    letter = missed(warehouse)
    outbox.unsent(warehouse, letter, "no answer")
    assert outbox.retake(warehouse, besides=[letter.promise_id]) == []
    (again,) = outbox.retake(warehouse)
    assert again == letter
    assert again.message_id == letter.message_id
    outbox.sent(warehouse, again)
    assert outbox.retake(warehouse) == []


def test_two_that_retake_at_once_never_hold_one_mail_both(warehouse: Warehouse, connect: Connect) -> None:
    outbox.unsent(warehouse, missed(warehouse), "no answer")
    other = connect()
    other.execute("set statement_timeout = '2s'")
    with warehouse.transaction():
        assert len(outbox.retake(warehouse)) == 1
        assert outbox.retake(other) == []
    assert outbox.retake(other) == []


def test_a_mail_under_way_is_left_alone_until_its_sender_must_be_gone_and_dropped_after_a_day(
    warehouse: Warehouse,
) -> None:
    missed(warehouse)
    assert outbox.retake(warehouse) == []
    warehouse.execute("update etl.promises set claimed_at = now() - %s", [outbox.LEASE + timedelta(seconds=1)])
    assert len(outbox.retake(warehouse)) == 1
    warehouse.execute("update etl.promises set claimed_at = now() - %s", [outbox.STALE + timedelta(seconds=1)])
    assert outbox.retake(warehouse) == []


def test_mails_of_one_run_are_one_thread_and_each_has_its_own_name(warehouse: Warehouse) -> None:
    first = missed(warehouse)
    outbox.sent(warehouse, first)
    second = recovered(warehouse)
    assert second is not None
    assert first.thread == second.thread
    assert first.message_id != second.message_id


def test_a_miss_and_a_failure_are_told_even_while_the_warehouse_is_silent() -> None:
    found = "connection refused for user jane@example.com"
    letters = [
        tell_unkept(Question(run, kind, PROMISED_BY, PROMISED_BY), metadata=None, found=found)
        for run in (RUN, replace(RUN, run_type="backfill"))
        for kind in Kind
    ]
    told = [letter for letter in letters if letter]
    assert [letter.subject for letter in told] == [
        "etl_transactions is late",
        "etl_transactions failed: WarehouseUnreachable from warehouse",
    ]
    assert all("connection refused for user …" in letter.body for letter in told)
