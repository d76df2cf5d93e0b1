"""Which alerts are enqueued about a run's deadline, and how often."""

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
from etl.sync.logins import breaker
from etl.sync.logins.breaker import TooManyLoginsStopped

START = datetime(2026, 11, 24, tzinfo=UTC)
DEADLINE = START + timedelta(hours=2)
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
            "insert into etl.loads select raw_id, 'transactions', %s, 0, 0, 0, 0, 0, 0, 0, 0 from etl.raw_batches",
            [TRANSACTIONS.version],
        )

    return plan


def enqueue_deadline_alert(
    db: Connection, kind: AlertKind, *, run: CallbackRun = RUN, after: timedelta = timedelta(hours=1)
) -> OutboxMail | None:
    return enqueue_due_alert(AlertCheck(run, kind, START + after, DEADLINE), db=db, metadata_db=None)


def enqueue_recovered(db: Connection, *, run: CallbackRun = RUN) -> OutboxMail | None:
    check = AlertCheck(run, AlertKind.RECOVERED, DEADLINE + timedelta(minutes=5))
    return enqueue_due_alert(check, db=db, metadata_db=None)


def enqueue_failed(db: Connection, *, run: CallbackRun = RUN) -> OutboxMail | None:
    return enqueue_due_alert(AlertCheck(run, AlertKind.FAILED, HALF), db=db, metadata_db=None)


def enqueue_missed(db: Connection) -> OutboxMail:
    mail = enqueue_deadline_alert(db, AlertKind.MISSED, after=timedelta(hours=2))
    assert mail is not None
    return mail


def test_forecast_is_computed_from_the_loaded_chunks(db: Connection, planned: Callable[[int], None]) -> None:
    planned(1)
    mail = enqueue_deadline_alert(db, AlertKind.FORECAST)
    assert mail is not None
    assert mail.subject == "etl_transactions is going to be late by about 2 h"
    assert "1 of 4 chunks loaded in 1 h" in mail.body


def test_run_on_pace_has_no_forecast(db: Connection, planned: Callable[[int], None]) -> None:
    planned(3)
    assert enqueue_deadline_alert(db, AlertKind.FORECAST) is None


def test_no_forecast_is_made_after_the_deadline(db: Connection, planned: Callable[[int], None]) -> None:
    planned(1)
    assert enqueue_deadline_alert(db, AlertKind.FORECAST, after=timedelta(hours=2)) is None


def test_concurrent_checks_enqueue_each_kind_once(
    db: Connection, connect: Connect, planned: Callable[[int], None], rows: Rows
) -> None:
    planned(1)
    connections = [connect() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        mails = list(
            threads.map(lambda connection: enqueue_deadline_alert(connection, AlertKind.FORECAST), connections)
        )
    assert sum(mail is not None for mail in mails) == 1
    assert rows("select kind from etl.promises") == [("forecast",)]


@pytest.mark.parametrize("run_type", ["backfill", "manual", "asset_materialization"])
def test_run_type_without_deadline_has_no_alerts(db: Connection, planned: Callable[[int], None], run_type: str) -> None:
    planned(1)
    run = replace(RUN, run_type=run_type)
    assert enqueue_deadline_alert(db, AlertKind.FORECAST, run=run) is None
    assert enqueue_deadline_alert(db, AlertKind.MISSED, run=run, after=timedelta(hours=3)) is None
    assert enqueue_failed(db, run=run) is None
    enqueue_missed(db)
    assert enqueue_recovered(db, run=run) is None


def test_alert_about_a_run_without_entity_omits_chunk_progress(db: Connection) -> None:
    run = replace(RUN, dag_id="notify_monthly_report", entity=None)
    missed_mail = enqueue_deadline_alert(db, AlertKind.MISSED, run=run, after=timedelta(hours=2))
    assert missed_mail is not None
    assert missed_mail.subject == "notify_monthly_report is late"
    mail = enqueue_failed(db, run=run)
    assert mail is not None
    assert "they continue where they stopped, and no other run does their work" in " ".join(mail.body.split())
    assert "Loaded" not in mail.body


@pytest.mark.parametrize("state", ["success", "failed"])
def test_ended_run_has_no_missed_alert(db: Connection, state: str) -> None:
    assert enqueue_deadline_alert(db, AlertKind.MISSED, run=replace(RUN, state=state), after=timedelta(hours=3)) is None


def test_failed_alert_lists_errors_and_no_deadline_alert_follows(db: Connection) -> None:
    error = ProviderRefused("plaid", "answered INVALID_API_KEYS")
    failure = TaskFailure("chunk.download", 2, 1, "ProviderRefused", sanitize_message(str(error), type(error)))
    task_failures.save(
        db, replace(failure, attempt=0, message="an attempt before"), dag_id=RUN.dag_id, run_id=RUN.run_id
    )
    task_failures.save(db, failure, dag_id=RUN.dag_id, run_id=RUN.run_id)
    mail = enqueue_failed(db)
    assert mail is not None
    assert mail.subject == "etl_transactions failed: ProviderRefused from download"
    assert "download, chunk 3: ProviderRefused" in mail.body
    assert "INVALID_API_KEYS" in mail.body
    assert "an attempt before" not in mail.body
    assert enqueue_deadline_alert(db, AlertKind.MISSED, after=timedelta(hours=3)) is None
    assert enqueue_failed(db) is None


def test_run_that_failed_without_a_failed_task_names_its_reason(db: Connection) -> None:
    check = AlertCheck(RUN, AlertKind.FAILED, HALF, reason="timed_out")
    mail = enqueue_due_alert(check, db=db, metadata_db=None)
    assert mail is not None
    assert mail.subject == "etl_transactions failed: timed out"


def test_rejects_of_the_run_are_counted_by_rule(db: Connection, planned: Callable[[int], None]) -> None:
    planned(2)
    db.execute(
        "insert into etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason) "
        "select raw_id, 'transactions', 1, 1, 0, '', 'iso4217', 'Jane' from etl.raw_batches"
    )
    mail = enqueue_failed(db)
    assert mail is not None
    assert "2 by iso4217" in mail.body
    assert "Jane" not in mail.body


@pytest.fixture
def stop(db: Connection, planned: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function that lets the run stop some of its 100 logins, besides one that needed a login before."""

    def stop_logins(count: int) -> None:
        planned(4)
        db.execute("update etl.chunks set outcome = '{\"drained\": 25}'")
        db.execute(
            "update etl.chunks set outcome = jsonb_build_object('drained', 25 - %s::int, 'stopped', %s::int) "
            "where ordinal = 0",
            [count, count],
        )
        db.execute("insert into core.users (reference) values ('ann')")
        db.execute(
            "insert into core.provider_accounts (user_id, provider, item_id, access_token) "
            "select 1, 'plaid', n::text, '' from generate_series(1, %s) as n",
            [count + 1],
        )
        db.execute(
            "insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason, token_version) "
            "select c.chunk_id, 1, n, case when n <= %s then 'stopped' else 'still_stopped' end, "
            "'ITEM_LOGIN_REQUIRED', 1 from etl.chunks as c, generate_series(1, %s) as n where c.ordinal = 0",
            [count, count + 1],
        )

    return stop_logins


def enqueue_stopped(db: Connection) -> OutboxMail | None:
    check = AlertCheck(RUN, AlertKind.LOGINS_STOPPED, DEADLINE)
    return enqueue_due_alert(check, db=db, metadata_db=None)


def test_a_wave_of_accepted_stops_is_one_mail_with_code_and_remedy(db: Connection, stop: Callable[[int], None]) -> None:
    stop(5)
    db.execute(
        "update etl.left_out set outcome = 'stopped', reason = 'OLD', token_version = 7 where outcome <> 'stopped'"
    )
    assert enqueue_stopped(db) is None
    breaker.settle(TRANSACTIONS, RUN.run_id, db=db)
    mail = enqueue_stopped(db)
    assert mail is not None
    assert mail.subject == "etl_transactions stopped 5 logins"
    assert "5 stopped (ITEM_LOGIN_REQUIRED)" in mail.body
    assert "Link's update mode" in mail.body
    assert "OLD" not in mail.body
    assert enqueue_stopped(db) is None


def test_a_few_stops_are_no_mail(db: Connection, stop: Callable[[int], None]) -> None:
    stop(4)
    breaker.settle(TRANSACTIONS, RUN.run_id, db=db)
    assert enqueue_stopped(db) is None


@pytest.mark.parametrize(
    "order", [(enqueue_recovered, enqueue_stopped), (enqueue_stopped, enqueue_recovered)], ids=["first", "last"]
)
def test_a_run_that_succeeds_late_and_stops_many_logins_has_both_mails(
    db: Connection, stop: Callable[[int], None], order: tuple[Callable[[Connection], OutboxMail | None], ...]
) -> None:
    stop(5)
    breaker.settle(TRANSACTIONS, RUN.run_id, db=db)
    outbox.mark_failed(db, enqueue_missed(db), "no answer")
    for enqueue in order:
        mail = enqueue(db)
        assert mail is not None
        outbox.mark_failed(db, mail, "no answer")
    assert {mail.kind for mail in outbox.claim_unsent(db)} == {"recovered", "logins_stopped"}


def test_a_failure_alert_counts_the_logins_and_names_the_wave_before_the_other_failures(
    db: Connection, stop: Callable[[int], None]
) -> None:
    stop(21)
    breaker.settle(TRANSACTIONS, RUN.run_id, db=db)
    for index in range(3):
        task_failures.save(
            db, TaskFailure("chunk.load", index, 1, "Other", "late"), dag_id=RUN.dag_id, run_id=RUN.run_id
        )
    with pytest.raises(TooManyLoginsStopped) as raised:
        breaker.check_logins(TRANSACTIONS, RUN.run_id, db=db)
    message = sanitize_message(str(raised.value), raised.type)
    assert message == str(raised.value)
    failure = TaskFailure("check_logins", -1, 1, raised.type.__name__, message)
    task_failures.save(db, failure, dag_id=RUN.dag_id, run_id=RUN.run_id)
    mail = enqueue_failed(db)
    assert mail is not None
    assert mail.subject == "etl_transactions failed: TooManyLoginsStopped from check_logins"
    assert "79 read, 21 not stopped (ITEM_LOGIN_REQUIRED), 1 still stopped (ITEM_LOGIN_REQUIRED)" in mail.body
    assert "plaid answered ITEM_LOGIN_REQUIRED for 21 of 100 logins" in mail.body
    assert "Link's update mode" in mail.body
    assert db.execute("select distinct state from core.provider_accounts").fetchall() == [("active",)]


def test_recovered_alert_follows_only_a_sent_warning(db: Connection) -> None:
    assert enqueue_recovered(db) is None
    outbox.mark_sent(db, enqueue_missed(db))
    mail = enqueue_recovered(db)
    assert mail is not None
    assert mail.subject == "etl_transactions is done, 5 min late"
    assert enqueue_recovered(db) is None


def test_unsent_forecast_is_discarded_once_the_run_is_done(db: Connection, planned: Callable[[int], None]) -> None:
    planned(1)
    mail = enqueue_deadline_alert(db, AlertKind.FORECAST)
    assert mail is not None
    outbox.mark_failed(db, mail, "no answer")
    assert enqueue_recovered(db) is None
    assert outbox.claim_unsent(db) == []


def test_unsent_missed_alert_is_replaced_by_the_recovered_alert(db: Connection) -> None:
    outbox.mark_failed(db, enqueue_missed(db), "no answer")
    assert enqueue_recovered(db) is not None
    assert outbox.claim_unsent(db) == []


def test_unsent_mail_is_claimed_with_the_next_alert_and_keeps_its_message_id(db: Connection) -> None:
    mail = enqueue_missed(db)
    outbox.mark_failed(db, mail, "no answer")
    assert outbox.claim_unsent(db, except_ids=[mail.promise_id]) == []
    (claimed,) = outbox.claim_unsent(db)
    assert claimed == mail
    assert claimed.message_id == mail.message_id
    outbox.mark_sent(db, claimed)
    assert outbox.claim_unsent(db) == []


def test_concurrent_claims_never_return_the_same_mail(db: Connection, connect: Connect) -> None:
    outbox.mark_failed(db, enqueue_missed(db), "no answer")
    other = connect()
    other.execute("set statement_timeout = '2s'")
    with db.transaction():
        assert len(outbox.claim_unsent(db)) == 1
        assert outbox.claim_unsent(other) == []
    assert outbox.claim_unsent(other) == []


def test_claimed_mail_is_claimed_again_after_its_lease_and_never_after_its_maximum_age(
    db: Connection,
) -> None:
    enqueue_missed(db)
    assert outbox.claim_unsent(db) == []
    db.execute("update etl.promises set claimed_at = now() - %s", [outbox.LEASE + timedelta(seconds=1)])
    assert len(outbox.claim_unsent(db)) == 1
    db.execute("update etl.promises set claimed_at = now() - %s", [outbox.MAX_AGE + timedelta(seconds=1)])
    assert outbox.claim_unsent(db) == []


def test_mails_of_one_run_share_a_thread_and_have_distinct_message_ids(db: Connection) -> None:
    first = enqueue_missed(db)
    outbox.mark_sent(db, first)
    second = enqueue_recovered(db)
    assert second is not None
    assert first.thread_id == second.thread_id
    assert first.message_id != second.message_id


def test_missed_and_failed_alerts_are_composed_without_the_warehouse() -> None:
    connection_error = "connection refused for user jane@example.com"
    mails = [
        compose_unsaved_alert(
            AlertCheck(run, kind, DEADLINE, DEADLINE), metadata_db=None, connection_error=connection_error
        )
        for run in (RUN, replace(RUN, run_type="backfill"))
        for kind in AlertKind
    ]
    mails_to_send = [mail for mail in mails if mail]
    assert [mail.subject for mail in mails_to_send] == [
        "etl_transactions is late",
        "etl_transactions failed: WarehouseUnreachable from warehouse",
    ]
    assert all("connection refused for user …" in mail.body for mail in mails_to_send)
