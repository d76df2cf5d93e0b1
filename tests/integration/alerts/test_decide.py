"""What people are told of a run's promise, and how often."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.alerts.alert import AlertKind, TaskFailure, sanitize_message
from etl.alerts.context import CallbackRun
from etl.alerts.decide import AlertCheck, compose_unsaved_alert, enqueue_due_alert
from etl.alerts.store import outbox, task_failures
from etl.alerts.store.outbox import OutboxMail
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import Connection
from etl.errors import ProviderRefused

START = datetime(2026, 11, 24, tzinfo=UTC)
PROMISED_BY = START + timedelta(hours=2)
HALF = START + timedelta(hours=1)
RUN = CallbackRun("etl_transactions", "scheduled__1", "scheduled", "running", "http://ui/run", START, TRANSACTIONS)
Connect = Callable[[], Connection]
Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def planned(db: Connection) -> Callable[[int], None]:
    """Return a function that plans four chunks, of which some are loaded."""

    def plan(loaded: int) -> None:
        db.execute(
            "insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size, attempts) "
            "select 'transactions', 'scheduled__1', n, 1 + 50 * n, 51 + 50 * n, 500, 1 from generate_series(0, 3) as n"
        )
        db.execute(
            "insert into etl.raw_batches (source, chunk_id, attempt, content_hash, path, accounts, pages, bytes) "
            "select 'transactions_sync', chunk_id, 1, '', '', 0, 0, 0 from etl.chunks where ordinal < %s",
            [loaded],
        )
        db.execute(
            "insert into etl.loads select raw_id, 'transactions', 1, 0, 0, 0, 0, 0, 0, 0, 0 from etl.raw_batches"
        )

    return plan


def late(
    db: Connection, kind: AlertKind, *, run: CallbackRun = RUN, after: timedelta = timedelta(hours=1)
) -> OutboxMail | None:
    return enqueue_due_alert(AlertCheck(run, kind, START + after, PROMISED_BY), db=db, metadata_db=None)


def recovered(db: Connection, *, run: CallbackRun = RUN) -> OutboxMail | None:
    asked = AlertCheck(run, AlertKind.RECOVERED, PROMISED_BY + timedelta(minutes=5))
    return enqueue_due_alert(asked, db=db, metadata_db=None)


def failed(db: Connection, *, run: CallbackRun = RUN) -> OutboxMail | None:
    return enqueue_due_alert(AlertCheck(run, AlertKind.FAILED, HALF), db=db, metadata_db=None)


def missed(db: Connection) -> OutboxMail:
    letter = late(db, AlertKind.MISSED, after=timedelta(hours=2))
    assert letter is not None
    return letter


def test_a_miss_is_foretold_from_the_chunks_that_are_loaded(db: Connection, planned: Callable[[int], None]) -> None:
    planned(1)
    letter = late(db, AlertKind.FORECAST)
    assert letter is not None
    assert letter.subject == "etl_transactions is going to be late by about 2 h"
    assert "1 of 4 chunks loaded in 1 h" in letter.body


def test_nothing_is_foretold_of_a_run_at_its_pace(db: Connection, planned: Callable[[int], None]) -> None:
    planned(3)
    assert late(db, AlertKind.FORECAST) is None


def test_nothing_is_foretold_once_the_promise_is_over(db: Connection, planned: Callable[[int], None]) -> None:
    planned(1)
    assert late(db, AlertKind.FORECAST, after=timedelta(hours=2)) is None


def test_alerts_at_once_tell_each_kind_once(
    db: Connection, connect: Connect, planned: Callable[[int], None], rows: Rows
) -> None:
    planned(1)
    connections = [connect() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        letters = list(threads.map(lambda connection: late(connection, AlertKind.FORECAST), connections))
    assert sum(letter is not None for letter in letters) == 1
    assert rows("select kind from etl.promises") == [("forecast",)]


@pytest.mark.parametrize("run_type", ["backfill", "manual", "asset_materialization"])
def test_nothing_is_told_of_runs_that_promise_nothing(
    db: Connection, planned: Callable[[int], None], run_type: str
) -> None:
    planned(1)
    run = replace(RUN, run_type=run_type)
    assert late(db, AlertKind.FORECAST, run=run) is None
    assert late(db, AlertKind.MISSED, run=run, after=timedelta(hours=3)) is None
    assert failed(db, run=run) is None
    missed(db)
    assert recovered(db, run=run) is None


def test_a_run_of_no_entity_is_told_with_what_is_known_of_it(db: Connection) -> None:
    run = replace(RUN, dag_id="notify_monthly_report", entity=None)
    missed = late(db, AlertKind.MISSED, run=run, after=timedelta(hours=2))
    assert missed is not None
    assert missed.subject == "notify_monthly_report is late"
    letter = failed(db, run=run)
    assert letter is not None
    assert "they go on where they stopped, and no other run does it for them" in " ".join(letter.body.split())
    assert "Loaded" not in letter.body


@pytest.mark.parametrize("state", ["success", "failed"])
def test_nothing_is_told_late_of_a_run_that_ended(db: Connection, state: str) -> None:
    assert late(db, AlertKind.MISSED, run=replace(RUN, state=state), after=timedelta(hours=3)) is None


def test_a_failed_run_is_told_with_its_errors_and_nothing_of_its_promise_after(db: Connection) -> None:
    error = ProviderRefused("plaid", "answered INVALID_API_KEYS")
    failure = TaskFailure("chunk.download", 2, 1, "ProviderRefused", sanitize_message(str(error), type(error)))
    task_failures.save(
        db, replace(failure, attempt=0, message="an attempt before"), dag_id=RUN.dag_id, run_id=RUN.run_id
    )
    task_failures.save(db, failure, dag_id=RUN.dag_id, run_id=RUN.run_id)
    letter = failed(db)
    assert letter is not None
    assert letter.subject == "etl_transactions failed: ProviderRefused from download"
    assert "download, chunk 3: ProviderRefused" in letter.body
    assert "INVALID_API_KEYS" in letter.body
    assert "an attempt before" not in letter.body
    assert late(db, AlertKind.MISSED, after=timedelta(hours=3)) is None
    assert failed(db) is None


def test_a_run_that_failed_by_no_task_says_why_instead(db: Connection) -> None:
    asked = AlertCheck(RUN, AlertKind.FAILED, HALF, reason="timed_out")
    letter = enqueue_due_alert(asked, db=db, metadata_db=None)
    assert letter is not None
    assert letter.subject == "etl_transactions failed: timed out"


def test_rejects_of_the_run_are_counted_by_rule(db: Connection, planned: Callable[[int], None]) -> None:
    planned(2)
    db.execute(
        "insert into etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) "
        "select raw_id, 'transactions', 1, 1, 0, '', 'iso4217', 'Jane' from etl.raw_batches"
    )
    letter = failed(db)
    assert letter is not None
    assert "2 by iso4217" in letter.body
    assert "Jane" not in letter.body


def test_a_recovery_is_told_only_to_those_who_were_warned(db: Connection) -> None:
    assert recovered(db) is None
    outbox.mark_sent(db, missed(db))
    letter = recovered(db)
    assert letter is not None
    assert letter.subject == "etl_transactions is done, 5 min late"
    assert recovered(db) is None


def test_a_forecast_that_could_not_be_sent_is_let_go_once_the_run_is_done(
    db: Connection, planned: Callable[[int], None]
) -> None:
    planned(1)
    letter = late(db, AlertKind.FORECAST)
    assert letter is not None
    outbox.mark_failed(db, letter, "no answer")
    assert recovered(db) is None
    assert outbox.claim_unsent(db) == []


def test_a_miss_that_could_not_be_sent_is_told_with_the_recovery_alone(db: Connection) -> None:
    outbox.mark_failed(db, missed(db), "no answer")
    assert recovered(db) is not None
    assert outbox.claim_unsent(db) == []


def test_a_mail_that_could_not_be_sent_is_sent_with_the_next_alert_under_its_old_name(db: Connection) -> None:
    letter = missed(db)
    outbox.mark_failed(db, letter, "no answer")
    assert outbox.claim_unsent(db, except_ids=[letter.promise_id]) == []
    (again,) = outbox.claim_unsent(db)
    assert again == letter
    assert again.message_id == letter.message_id
    outbox.mark_sent(db, again)
    assert outbox.claim_unsent(db) == []


def test_two_that_retake_at_once_never_hold_one_mail_both(db: Connection, connect: Connect) -> None:
    outbox.mark_failed(db, missed(db), "no answer")
    other = connect()
    other.execute("set statement_timeout = '2s'")
    with db.transaction():
        assert len(outbox.claim_unsent(db)) == 1
        assert outbox.claim_unsent(other) == []
    assert outbox.claim_unsent(other) == []


def test_a_mail_under_way_is_left_alone_until_its_sender_must_be_gone_and_dropped_after_a_day(
    db: Connection,
) -> None:
    missed(db)
    assert outbox.claim_unsent(db) == []
    db.execute("update etl.promises set claimed_at = now() - %s", [outbox.LEASE + timedelta(seconds=1)])
    assert len(outbox.claim_unsent(db)) == 1
    db.execute("update etl.promises set claimed_at = now() - %s", [outbox.MAX_AGE + timedelta(seconds=1)])
    assert outbox.claim_unsent(db) == []


def test_mails_of_one_run_are_one_thread_and_each_has_its_own_name(db: Connection) -> None:
    first = missed(db)
    outbox.mark_sent(db, first)
    second = recovered(db)
    assert second is not None
    assert first.thread_id == second.thread_id
    assert first.message_id != second.message_id


def test_a_miss_and_a_failure_are_told_even_while_the_warehouse_is_silent() -> None:
    found = "connection refused for user jane@example.com"
    letters = [
        compose_unsaved_alert(AlertCheck(run, kind, PROMISED_BY, PROMISED_BY), metadata_db=None, connection_error=found)
        for run in (RUN, replace(RUN, run_type="backfill"))
        for kind in AlertKind
    ]
    told = [letter for letter in letters if letter]
    assert [letter.subject for letter in told] == [
        "etl_transactions is late",
        "etl_transactions failed: WarehouseUnreachable from warehouse",
    ]
    assert all("connection refused for user …" in letter.body for letter in told)
