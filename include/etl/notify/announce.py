"""Announce: sends one message to a few listed users at once, to each only once however often it is announced."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from reprlib import repr as shortened
from typing import Any

from etl.clients import airflow
from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.notice import ANNOUNCEMENT_PREFIX, Notice
from etl.errors import PermanentError
from etl.notify.plan import PlannedRun, plan_run
from etl.notify.report import report_run
from etl.notify.run_request import ConfInvalid
from etl.notify.send import DeliveriesDeferred, Senders, send
from etl.notify.store import announcements, chunks, runs
from etl.notify.store.announcements import Announcement
from etl.notify.templates import Templates
from etl.settings import Endpoint

DAG_ID = "notify_now"
"""The Dag that sends announcements."""
MAX_USERS = 1_000
MAX_KEY_LENGTH = 200

_VALID_USER_IDS = range(1, 2**63 - 1)
"""User ids are positions of an audience; a chunk's `stop`, one more than the last, must still be a bigint."""

log = logging.getLogger(__name__)


class AnnouncementInvalid(PermanentError):
    """The users, the key or the values of an announcement are invalid."""

    def __init__(self, notice: Notice, detail: str) -> None:
        super().__init__(f"{notice.name}: {detail}; nothing was announced.")


def plan_announcement(
    notice: Notice,
    users: Collection[int],
    key: str,
    values: Mapping[str, object] | None = None,
    *,
    db: Connection,
    templates: Templates | None = None,
) -> PlannedRun:
    """Plan a run of a notice for a few listed users; consent, suppression and expiry apply as in any other run.

    Ids and values are stored in the warehouse only.

    Parameters
    ----------
    users
        Ids of the recipients; at most 1,000.
    key
        Names the announcement, such as `flag-123`. Announcing a key again finds the same run, even with other users or
        values.
    values
        Values for the templates; JSON.
    templates
        Templates to render; None for those of the notice's folder.

    Raises
    ------
    AnnouncementInvalid
        If there are no users or too many, or the key, an id or the values are invalid.
    TemplateBroken
        If a template uses a value that is missing; nothing is planned then.
    """
    _validate(notice, users, key, values or {})
    # The key, with its prefix, is also the period of the run: the run is found by it, and no real period is taken.
    period = f"{ANNOUNCEMENT_PREFIX}{key}"
    planned = plan_run(
        notice,
        period,
        trigger="announced",
        as_of=datetime.now(UTC),
        db=db,
        templates=templates,
        announcement=Announcement(period, users, values or {}),
    )
    if unlisted := announcements.count_unlisted_users(db, planned.run_id, users):
        log.warning(
            "%s: %d of %d users are not recipients of the first announcement of %s, so they get nothing; use another "
            "key",
            notice.name,
            unlisted,
            len(users),
            key,
        )
    return planned


def announce_now(
    notice: Notice,
    users: Collection[int],
    key: str,
    values: Mapping[str, object] | None = None,
    *,
    db: Connection,
    server: Endpoint,
) -> PlannedRun:
    """Plan an announcement, and trigger the Dag that sends it at once through the most urgent queue.

    If Airflow does not answer, make the same call again: nothing is planned or sent twice.

    Parameters
    ----------
    server
        Airflow's API: the connection `airflow_api`.

    Raises
    ------
    AirflowUnavailable
        If Airflow does not answer, or asks to retry later.
    AirflowRefused
        If Airflow rejects the caller, or has no such Dag.
    """
    planned = plan_announcement(notice, users, key, values, db=db)
    if not planned.ordinals:
        log.info("%s: %s was sent before, by run %d", notice.name, key, planned.run_id)
        return planned
    # One Dag run for each notice run: a repeated call triggers nothing new, or clears the Dag run to send what is left.
    dag_run_id = f"announced_{planned.run_id}"
    is_triggered = airflow.trigger(server, DAG_ID, dag_run_id, {"run_id": planned.run_id}) or airflow.clear_run(
        server, DAG_ID, dag_run_id
    )
    state = "triggered" if is_triggered else "in progress already"
    log.info("%s: run %d is %s", notice.name, planned.run_id, state)
    return planned


def send_announced(
    conf: Mapping[str, Any],
    *,
    notices: Iterable[Notice],
    db: Connection,
    limiter: Limiter,
    build_senders: Callable[[Notice], Senders],
) -> dict[str, int]:
    """Send the unfinished chunks of an announced run, one after the other, and return its totals.

    Parameters
    ----------
    conf
        Conf of the Dag run: `{"run_id": 17}`.
    notices
        All declared notices.
    build_senders
        Returns the senders of a notice, not yet opened.

    Raises
    ------
    ConfInvalid
        If the conf names no run, a run that was not announced, or a run of a notice that is not declared.
    """
    run_id = conf.get("run_id")
    if type(run_id) is not int:
        raise ConfInvalid(DAG_ID, f"run_id in its conf is {run_id!r}")
    run = runs.find(db, run_id)
    notice = next((notice for notice in notices if notice.name == run.notice), None)
    if notice is None:
        raise ConfInvalid(DAG_ID, f"run {run_id} belongs to notice {run.notice}, which is not declared")
    if not run.is_announced:
        raise ConfInvalid(DAG_ID, f"run {run_id} was not announced; the Dag notify_{run.notice} sends it")
    deferred: list[DeliveriesDeferred] = []
    for ordinal in chunks.list_unfinished(db, run_id):
        try:
            send(notice, run_id, ordinal, db=db, limiter=limiter, senders=build_senders(notice))
        except DeliveriesDeferred as error:
            deferred.append(error)
    if deferred:
        raise min(deferred, key=lambda error: error.wait)
    return report_run(notice, run_id, db=db)


def _validate(notice: Notice, users: Collection[int], key: str, values: Mapping[str, object]) -> None:
    if not 0 < len(users) <= MAX_USERS:
        raise AnnouncementInvalid(notice, f"it has {len(users):,} users; 1 to {MAX_USERS:,} are allowed")
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise AnnouncementInvalid(notice, f"its key must have 1 to {MAX_KEY_LENGTH} printable characters")
    for user in users:
        if user not in _VALID_USER_IDS:
            raise AnnouncementInvalid(notice, f"{shortened(user)} is not a user id")
    try:
        text = json.dumps(dict(values), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise AnnouncementInvalid(notice, f"its values are not valid JSON: {error}; write amounts as text") from None
    if r"\u0000" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise AnnouncementInvalid(notice, "its values hold characters that cannot be stored: NUL or a lone surrogate")
