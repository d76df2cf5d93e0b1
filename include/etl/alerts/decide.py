"""Tell: decide whether people must know something about the promise of a run, and if so, write it down."""

from __future__ import annotations

import logging
from dataclasses import dataclass
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
)
from etl.alerts.mail import compose
from etl.alerts.store import outbox, task_failures
from etl.alerts.store.outbox import UNSAVED_ID, OutboxMail
from etl.db.connection import Connection

_MAX_FAILURES = 3
_TASK_FAILURE_REASON = "task_failure"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertCheck:
    """Whether there is news of a kind about a run.

    Parameters
    ----------
    run, kind
        Which run, and what might have become of it.
    as_of
        Now.
    deadline_at
        When it promised to be done; None for one that ended, of which that is looked up.
    reason
        Airflow's word for why it failed.
    """

    run: CallbackRun
    kind: AlertKind
    as_of: datetime
    deadline_at: datetime | None = None
    reason: str = ""


def enqueue_due_alert(check: AlertCheck, *, db: Connection, metadata_db: Connection | None) -> OutboxMail | None:
    """Return the mail that is to be sent now, None if there is nothing to tell or it was told already.

    Parameters
    ----------
    metadata_db
        Airflow's own database; None if it cannot be read.
    """
    seen = gather_run_context(check.run, db=db, metadata_db=metadata_db)
    if not seen.has_deadline:
        return None
    weigh = {
        AlertKind.FORECAST: _check_late,
        AlertKind.MISSED: _check_late,
        AlertKind.RECOVERED: _check_recovered,
        AlertKind.FAILED: _check_failed,
    }[check.kind]
    news = weigh(check, seen, db)
    letter = outbox.enqueue(db, news, compose(news)) if news else None
    if letter:
        log.info("%s: telling of run %s: %s", letter.dag_id, letter.run_id, letter.subject)
    return letter


def compose_unsaved_alert(
    check: AlertCheck, *, metadata_db: Connection | None, connection_error: str
) -> OutboxMail | None:
    """Return the mail that goes out while the warehouse does not answer, and cannot say what was told before.

    Only a miss and a failure are told then. Airflow asks once for each, so that they are told once all the same.

    Parameters
    ----------
    connection_error
        What the warehouse said instead of an answer.
    """
    seen = gather_run_context(check.run, db=None, metadata_db=metadata_db)
    if check.kind not in (AlertKind.MISSED, AlertKind.FAILED) or not seen.has_deadline:
        return None
    if check.kind is AlertKind.MISSED and seen.has_ended:
        return None
    news = _build_alert(
        check,
        seen,
        deadline_at=check.deadline_at or (seen.dag_run.deadline_at if seen.dag_run else None),
        finish_at=check.as_of if check.kind is AlertKind.FAILED else None,
        blockers=blocking_reasons(seen, db=None, as_of=check.as_of),
        failures=(
            TaskFailure("warehouse", -1, 1, "WarehouseUnreachable", sanitize_message(connection_error, OSError)),
        ),
    )
    mail = compose(news)
    return OutboxMail(
        UNSAVED_ID, check.kind.value, check.run.dag_id, check.run.run_id, mail.subject, mail.text, mail.html
    )


def _check_late(check: AlertCheck, context: RunContext, db: Connection) -> Alert | None:
    promised_by = check.deadline_at
    if context.has_ended or promised_by is None:
        return None
    so_far = chunk_progress(check.run, db=db)
    estimate = eta.estimate_finish(so_far, context.history, started_at=context.started_at, as_of=check.as_of)
    if check.kind is AlertKind.FORECAST and (
        estimate is None or check.as_of >= promised_by or estimate.finish_at <= promised_by
    ):
        return None
    return _build_alert(
        check,
        context,
        deadline_at=promised_by,
        finish_at=estimate.finish_at if estimate else None,
        basis=estimate.basis if estimate else "",
        progress=so_far,
        blockers=blocking_reasons(context, db=db, as_of=check.as_of),
    )


def _check_recovered(check: AlertCheck, context: RunContext, db: Connection) -> Alert | None:
    """Return the news that a run is done after all, if anybody was told that it would not be."""
    told = outbox.alerts_of_run(db, dag_id=check.run.dag_id, run_id=check.run.run_id)
    warned = [told[kind] for kind in (AlertKind.MISSED, AlertKind.FORECAST) if kind in told]
    # A miss that could not be sent is told now, by the very mail that says how late it became.
    if not any(item.sent_at or item.kind == AlertKind.MISSED.value for item in warned):
        outbox.discard_unsent(db, dag_id=check.run.dag_id, run_id=check.run.run_id)
        return None
    return _build_alert(
        check,
        context,
        deadline_at=warned[0].deadline_at,
        finish_at=context.ended_at or check.as_of,
        progress=chunk_progress(check.run, db=db),
    )


def _check_failed(check: AlertCheck, context: RunContext, db: Connection) -> Alert:
    run = check.run
    told = outbox.alerts_of_run(db, dag_id=run.dag_id, run_id=run.run_id)
    promised = [context.dag_run.deadline_at if context.dag_run else None, *(item.deadline_at for item in told.values())]
    found = find_failures(context, db=db)
    return _build_alert(
        check,
        context,
        deadline_at=next((at for at in promised if at), None),
        finish_at=context.ended_at or check.as_of,
        reason="" if check.reason == _TASK_FAILURE_REASON else check.reason,
        progress=chunk_progress(run, db=db),
        failures=found[:_MAX_FAILURES],
        failed_task_count=len(found),
        rejects=task_failures.count_rejects(db, entity=run.entity.name, run_id=run.run_id) if run.entity else (),
    )


def _build_alert(check: AlertCheck, context: RunContext, **fields: Any) -> Alert:  # noqa: ANN401 - the fields of News
    run = check.run
    known = {"data_interval": context.data_interval, "started_at": context.started_at, **fields}
    # A run of an entity reads on from the cursors; one of anything else is about its own period.
    made_up = run.entity is not None
    return Alert(check.kind, run.dag_id, run.run_id, check.as_of, run.url, next_run_catches_up=made_up, **known)
