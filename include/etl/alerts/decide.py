"""Tell: decide whether people must know something about the promise of a run, and if so, write it down."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl.alerts import eta
from etl.alerts.alert import Failure, Kind, News, first_lines
from etl.alerts.context import Run, Seen, look, progress, waits, why_failed
from etl.alerts.mail import compose
from etl.alerts.store import outbox, task_failures
from etl.alerts.store.outbox import UNKEPT, Letter
from etl.db.connection import Warehouse

_MOST_FAILURES = 3
_BY_ITS_TASKS = "task_failure"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """Whether there is news of a kind about a run.

    Parameters
    ----------
    run, kind
        Which run, and what might have become of it.
    as_of
        Now.
    promised_by
        When it promised to be done; None for one that ended, of which that is looked up.
    reason
        Airflow's word for why it failed.
    """

    run: Run
    kind: Kind
    as_of: datetime
    promised_by: datetime | None = None
    reason: str = ""


def tell(asked: Question, *, warehouse: Warehouse, metadata: Warehouse | None) -> Letter | None:
    """Return the mail that is to be sent now, None if there is nothing to tell or it was told already.

    Parameters
    ----------
    metadata
        Airflow's own database; None if it cannot be read.
    """
    seen = look(asked.run, warehouse=warehouse, metadata=metadata)
    if not seen.promises:
        return None
    weigh = {Kind.FORECAST: _late, Kind.MISSED: _late, Kind.RECOVERED: _recovered, Kind.FAILED: _failed}[asked.kind]
    news = weigh(asked, seen, warehouse)
    letter = outbox.claim(warehouse, news, compose(news)) if news else None
    if letter:
        log.info("%s: telling of run %s: %s", letter.dag_id, letter.run_id, letter.subject)
    return letter


def tell_unkept(asked: Question, *, metadata: Warehouse | None, found: str) -> Letter | None:
    """Return the mail that goes out while the warehouse does not answer, and cannot say what was told before.

    Only a miss and a failure are told then. Airflow asks once for each, so that they are told once all the same.

    Parameters
    ----------
    found
        What the warehouse said instead of an answer.
    """
    seen = look(asked.run, warehouse=None, metadata=metadata)
    if asked.kind not in (Kind.MISSED, Kind.FAILED) or not seen.promises:
        return None
    if asked.kind is Kind.MISSED and seen.has_ended:
        return None
    news = _news(
        asked,
        seen,
        promised_by=asked.promised_by or (seen.run.promised_by if seen.run else None),
        finish_at=asked.as_of if asked.kind is Kind.FAILED else None,
        blockers=waits(seen, warehouse=None, as_of=asked.as_of),
        failures=(Failure("warehouse", -1, 1, "WarehouseUnreachable", first_lines(found, OSError)),),
    )
    mail = compose(news)
    return Letter(UNKEPT, asked.kind.value, asked.run.dag_id, asked.run.run_id, mail.subject, mail.text, mail.html)


def _late(asked: Question, seen: Seen, warehouse: Warehouse) -> News | None:
    promised_by = asked.promised_by
    if seen.has_ended or promised_by is None:
        return None
    so_far = progress(asked.run, warehouse=warehouse)
    estimate = eta.estimate(so_far, seen.history, started_at=seen.started_at, as_of=asked.as_of)
    if asked.kind is Kind.FORECAST and (
        estimate is None or asked.as_of >= promised_by or estimate.finish_at <= promised_by
    ):
        return None
    return _news(
        asked,
        seen,
        promised_by=promised_by,
        finish_at=estimate.finish_at if estimate else None,
        basis=estimate.basis if estimate else "",
        progress=so_far,
        blockers=waits(seen, warehouse=warehouse, as_of=asked.as_of),
    )


def _recovered(asked: Question, seen: Seen, warehouse: Warehouse) -> News | None:
    """Return the news that a run is done after all, if anybody was told that it would not be."""
    told = outbox.told(warehouse, dag_id=asked.run.dag_id, run_id=asked.run.run_id)
    warned = [told[kind] for kind in (Kind.MISSED, Kind.FORECAST) if kind in told]
    # A miss that could not be sent is told now, by the very mail that says how late it became.
    if not any(item.sent_at or item.kind == Kind.MISSED.value for item in warned):
        outbox.withdraw(warehouse, dag_id=asked.run.dag_id, run_id=asked.run.run_id)
        return None
    return _news(
        asked,
        seen,
        promised_by=warned[0].promised_by,
        finish_at=seen.ended_at or asked.as_of,
        progress=progress(asked.run, warehouse=warehouse),
    )


def _failed(asked: Question, seen: Seen, warehouse: Warehouse) -> News:
    run = asked.run
    told = outbox.told(warehouse, dag_id=run.dag_id, run_id=run.run_id)
    promised = [seen.run.promised_by if seen.run else None, *(item.promised_by for item in told.values())]
    found = why_failed(seen, warehouse=warehouse)
    return _news(
        asked,
        seen,
        promised_by=next((at for at in promised if at), None),
        finish_at=seen.ended_at or asked.as_of,
        reason="" if asked.reason == _BY_ITS_TASKS else asked.reason,
        progress=progress(run, warehouse=warehouse),
        failures=found[:_MOST_FAILURES],
        failed_tasks=len(found),
        rejected=task_failures.rejects(warehouse, entity=run.entity.name, run_id=run.run_id) if run.entity else (),
    )


def _news(asked: Question, seen: Seen, **facts: Any) -> News:  # noqa: ANN401 - the fields of News
    run = asked.run
    known = {"interval": seen.interval, "started_at": seen.started_at, **facts}
    # A run of an entity reads on from the cursors; one of anything else is about its own period.
    made_up = run.entity is not None
    return News(asked.kind, run.dag_id, run.run_id, asked.as_of, run.url, is_made_up_for=made_up, **known)
