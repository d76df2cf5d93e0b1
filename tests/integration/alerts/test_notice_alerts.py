"""Alerts about runs of notices: held, sending again, and failed, whoever started the run."""

from __future__ import annotations

import pytest

from etl.alerts.alert import AlertKind
from etl.alerts.context import CallbackRun
from etl.alerts.decide import AlertCheck, enqueue_due_alert
from etl.alerts.store.outbox import OutboxMail
from etl.db.connection import Connection
from tests.integration.alerts.test_decide import HALF, START

REFUSAL = (
    '[{"channel": "email", "destination": "mail.example", "error_class": "550", "error": "550 5.1.1 no such user", '
    '"messages": 12}]'
)
RUN = CallbackRun("notify_monthly_report", "manual__1", "manual", "running", "http://ui/run", START)


@pytest.fixture
def run_id(db: Connection) -> int:
    """Return a run of a notice that a manual run of its Dag sends, with a few messages."""
    db.execute("insert into notify.notices (name) values ('monthly_report')")
    db.execute(
        "insert into notify.runs (notice_id, period, trigger, as_of, parameters, pace, dag_run) "
        "select notice_id, '2026-10', 'manual__1', now(), '{}', 10, 'manual__1' from notify.notices"
    )
    db.execute(
        "insert into notify.chunks (run_id, ordinal, start, stop, recipients, position, sent, failed, deferred) "
        "select run_id, 0, 1, 100, 99, 0, 30, 12, 3 from notify.runs"
    )
    (run_id,) = db.execute("select run_id from notify.runs").fetchone() or (0,)
    return int(run_id)


def enqueue(db: Connection, kind: AlertKind) -> OutboxMail | None:
    return enqueue_due_alert(AlertCheck(RUN, kind, HALF), db=db, metadata_db=None)


def set_state(db: Connection, state: str, reason: str = "") -> None:
    db.execute("update notify.runs set state = %s, reason = %s, refusals = %s", [state, reason, REFUSAL])


@pytest.mark.usefixtures("run_id")
def test_a_hold_is_told_once_and_its_end_once(db: Connection) -> None:
    assert enqueue(db, AlertKind.HELD) is None
    assert enqueue(db, AlertKind.RESUMED) is None
    set_state(db, "held", "email: 550 blocked")
    mail = enqueue(db, AlertKind.HELD)
    assert mail is not None
    assert mail.subject == "notify_monthly_report is held: nothing gets through"
    assert "email: 550 blocked" in mail.body
    assert enqueue(db, AlertKind.HELD) is None
    assert enqueue(db, AlertKind.RESUMED) is None
    set_state(db, "running")
    resumed = enqueue(db, AlertKind.RESUMED)
    assert resumed is not None
    assert "30 sent, 12 failed, 3 deferred, 0 unknown" in resumed.body
    assert enqueue(db, AlertKind.RESUMED) is None


def test_a_failed_run_without_a_deadline_is_told_with_the_words_of_the_servers(db: Connection, run_id: int) -> None:
    set_state(db, "failed", "12 of 42 messages were not delivered (550: 12)")
    mail = enqueue(db, AlertKind.FAILED)
    assert mail is not None
    assert "mail.example (email): 12 × 550 5.1.1 no such user" in mail.body
    assert f"sluice notify retry {run_id}" in mail.body


def test_a_manual_run_of_an_entity_is_still_not_told_of(db: Connection) -> None:
    run = CallbackRun("etl_transactions", "manual__1", "manual", "failed", "http://ui/run", START)
    assert enqueue_due_alert(AlertCheck(run, AlertKind.FAILED, HALF), db=db, metadata_db=None) is None
