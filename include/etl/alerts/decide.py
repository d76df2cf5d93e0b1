"""Decides whether an alert about a run is due, and if so, records it in the outbox."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from etl.alerts import eta
from etl.alerts.alert import Alert, AlertKind, TaskFailure, sanitize_message
from etl.alerts.context import (
    CallbackRun,
    RunContext,
    blocking_reasons,
    chunk_progress,
    find_failures,
    gather_run_context,
    logins_by_outcome,
    notice_outcome,
    wave_of_stops,
)
from etl.alerts.mail import compose
from etl.alerts.store import outbox, task_failures
from etl.alerts.store.outbox import UNSAVED_ID, OutboxMail
from etl.db.connection import Connection

_MAX_FAILURES = 3
_TASK_FAILURE_REASON = "task_failure"
_CHECK_LOGINS = "check_logins"
"""The task whose failure names the cause of many others; told first."""

_ALWAYS_TOLD_OF_NOTICES = (AlertKind.HELD, AlertKind.RESUMED, AlertKind.FAILED)
"""Told also of runs without a deadline: users wait for the messages, whoever started the run."""
_HELD = "held"
_SENDS_AGAIN = ("running", "done")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertCheck:
    """The question whether an alert of some kind about a run is due.

    Parameters
    ----------
    run, kind
        The run, and the kind of alert.
    as_of
        Now.
    deadline_at
        Deadline of the run; None for a run that ended, whose deadline is looked up.
    reason
        Airflow's reason why it failed; empty if there is none.
    """

    run: CallbackRun
    kind: AlertKind
    as_of: datetime
    deadline_at: datetime | None = None
    reason: str = ""


def enqueue_due_alert(check: AlertCheck, *, db: Connection, metadata_db: Connection | None) -> OutboxMail | None:
    """Return the mail to send now, None if no alert is due or the run has had this one.

    Parameters
    ----------
    metadata_db
        Airflow's own database; None if it cannot be read.
    """
    context = gather_run_context(check.run, db=db, metadata_db=metadata_db)
    notice = notice_outcome(check.run, db=db)
    if not context.has_deadline and not (notice and check.kind in _ALWAYS_TOLD_OF_NOTICES):
        return None
    build = {
        AlertKind.FORECAST: _build_late_alert,
        AlertKind.MISSED: _build_late_alert,
        AlertKind.RECOVERED: _build_recovered_alert,
        AlertKind.FAILED: _build_failed_alert,
        AlertKind.LOGINS_STOPPED: _build_logins_alert,
        AlertKind.HELD: _build_held_alert,
        AlertKind.RESUMED: _build_resumed_alert,
    }[check.kind]
    alert = build(check, context, db)
    if alert and notice:
        alert = replace(alert, notice=notice)
    mail = outbox.enqueue(db, alert, compose(alert)) if alert else None
    if mail:
        log.info("%s: alert for run %s: %s", mail.dag_id, mail.run_id, mail.subject)
    return mail


def compose_unsaved_alert(
    check: AlertCheck, *, metadata_db: Connection | None, connection_error: str
) -> OutboxMail | None:
    """Return the mail to send while the warehouse does not answer, and it is unknown what was sent before.

    Only missed deadlines and failures are reported then. Airflow calls back once for each, so that each is still sent
    only once.

    Parameters
    ----------
    connection_error
        Message of the error that connecting to the warehouse raised.
    """
    context = gather_run_context(check.run, db=None, metadata_db=metadata_db)
    if check.kind not in (AlertKind.MISSED, AlertKind.FAILED) or not context.has_deadline:
        return None
    if check.kind is AlertKind.MISSED and context.has_ended:
        return None
    alert = _build_alert(
        check,
        context,
        deadline_at=check.deadline_at or (context.dag_run.deadline_at if context.dag_run else None),
        finish_at=check.as_of if check.kind is AlertKind.FAILED else None,
        blockers=blocking_reasons(context, db=None, as_of=check.as_of),
        failures=(
            TaskFailure("warehouse", -1, 1, "WarehouseUnreachable", sanitize_message(connection_error, OSError)),
        ),
    )
    mail = compose(alert)
    return OutboxMail(
        UNSAVED_ID, check.kind.value, check.run.dag_id, check.run.run_id, mail.subject, mail.text, mail.html
    )


def _build_late_alert(check: AlertCheck, context: RunContext, db: Connection) -> Alert | None:
    """Return the alert that a run is late, or will be; None if it ended, or is expected to meet its deadline."""
    deadline_at = check.deadline_at
    if context.has_ended or deadline_at is None:
        return None
    progress = chunk_progress(check.run, db=db)
    estimate = eta.estimate_finish(progress, context.history, started_at=context.started_at, as_of=check.as_of)
    if check.kind is AlertKind.FORECAST and (
        estimate is None or check.as_of >= deadline_at or estimate.finish_at <= deadline_at
    ):
        return None
    return _build_alert(
        check,
        context,
        deadline_at=deadline_at,
        finish_at=estimate.finish_at if estimate else None,
        basis=estimate.basis if estimate else "",
        progress=progress,
        blockers=blocking_reasons(context, db=db, as_of=check.as_of),
    )


def _build_recovered_alert(check: AlertCheck, context: RunContext, db: Connection) -> Alert | None:
    """Return the alert that a run is done after all; None if no earlier alert makes one necessary."""
    records = outbox.alerts_of_run(db, dag_id=check.run.dag_id, run_id=check.run.run_id)
    warnings = [records[kind] for kind in (AlertKind.MISSED, AlertKind.FORECAST) if kind in records]
    # If the "late" alert was never delivered, this "recovered" alert replaces it.
    if not any(record.sent_at or record.kind == AlertKind.MISSED.value for record in warnings):
        outbox.discard_unsent(db, dag_id=check.run.dag_id, run_id=check.run.run_id)
        return None
    return _build_alert(
        check,
        context,
        deadline_at=warnings[0].deadline_at,
        finish_at=context.ended_at or check.as_of,
        progress=chunk_progress(check.run, db=db),
    )


def _build_failed_alert(check: AlertCheck, context: RunContext, db: Connection) -> Alert:
    run = check.run
    records = outbox.alerts_of_run(db, dag_id=run.dag_id, run_id=run.run_id)
    deadlines = [
        context.dag_run.deadline_at if context.dag_run else None,
        *(record.deadline_at for record in records.values()),
    ]
    failures = sorted(find_failures(context, db=db), key=lambda failure: failure.task_id != _CHECK_LOGINS)
    return _build_alert(
        check,
        context,
        deadline_at=next((deadline for deadline in deadlines if deadline), None),
        finish_at=context.ended_at or check.as_of,
        reason="" if check.reason == _TASK_FAILURE_REASON else check.reason,
        progress=chunk_progress(run, db=db),
        failures=tuple(failures[:_MAX_FAILURES]),
        failed_task_count=len(failures),
        rejects=task_failures.count_rejects(db, entity=run.entity.name, run_id=run.run_id) if run.entity else (),
        logins=logins_by_outcome(run, db=db),
    )


def _build_logins_alert(check: AlertCheck, context: RunContext, db: Connection) -> Alert | None:
    """Return the alert that a run has stopped many logins; None if there were few."""
    stopped = wave_of_stops(check.run, db=db)
    if not stopped:
        return None
    return _build_alert(
        check,
        context,
        finish_at=context.ended_at or check.as_of,
        progress=chunk_progress(check.run, db=db),
        logins=stopped,
    )


def _build_held_alert(check: AlertCheck, context: RunContext, db: Connection) -> Alert | None:
    """Return the alert that the run of a notice is held; None if it is not."""
    notice = notice_outcome(check.run, db=db)
    return _build_alert(check, context) if notice and notice.state == _HELD else None


def _build_resumed_alert(check: AlertCheck, context: RunContext, db: Connection) -> Alert | None:
    """Return the alert that the run of a notice sends again; None if it is held, or nobody was told that it was."""
    notice = notice_outcome(check.run, db=db)
    records = outbox.alerts_of_run(db, dag_id=check.run.dag_id, run_id=check.run.run_id)
    is_told = notice is not None and notice.state in _SENDS_AGAIN and AlertKind.HELD in records
    return _build_alert(check, context) if is_told else None


def _build_alert(check: AlertCheck, context: RunContext, **fields: Any) -> Alert:  # noqa: ANN401 - the fields of Alert
    run = check.run
    fields = {"data_interval": context.data_interval, "started_at": context.started_at, **fields}
    # The next run of an entity continues from the cursors; a run of any other Dag covers its own period only.
    catches_up = run.entity is not None
    return Alert(check.kind, run.dag_id, run.run_id, check.as_of, run.url, next_run_catches_up=catches_up, **fields)
