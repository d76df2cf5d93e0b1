"""Announce: tell one thing to a few users at once, each once, however often it is announced."""

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
from etl.notify.send import Senders, send
from etl.notify.store import announcements, chunks, runs
from etl.notify.store.announcements import Announcement
from etl.notify.templates import Templates
from etl.settings import Endpoint

DAG_ID = "notify_now"
"""Sends what was announced."""
MAX_USERS = 1_000
MAX_KEY_LENGTH = 200

_VALID_USER_IDS = range(1, 2**63 - 1)
"""Positions of an audience; one more than each must be a number of the database too."""

log = logging.getLogger(__name__)


class AnnouncementInvalid(PermanentError):
    """What is to be announced cannot be."""

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
    """Plan a run of a notice that tells a few users one thing; consent, suppression and expiry count as in any other.

    The ids and the values stay in the warehouse.

    Parameters
    ----------
    users
        Whom to tell, by their ids; 1,000 at most.
    key
        Names what they are told, such as `flag-123`. Announced again, it is the same run, whatever else differs.
    values
        What the templates may name; JSON.
    templates
        What it says; None for those of its folder.

    Raises
    ------
    AnnouncementInvalid
        If there is nobody to tell, or too many, or what is given cannot be kept.
    TemplateBroken
        If a template names what is not among the values; nothing is planned then.
    """
    _validate(notice, users, key, values or {})
    # What users are told of is the period of its run too: it is found by that, and takes no other period away.
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
    if untold := announcements.count_unlisted_users(db, planned.run_id, users):
        log.warning(
            "%s: %d of %d users were not named when %s was announced first, and are not told; give another key",
            notice.name,
            untold,
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
    """Announce, and let Airflow send it at once through the most urgent queue.

    If Airflow cannot be asked, the same call may be made again: nothing is planned twice, nor told twice.

    Parameters
    ----------
    server
        Airflow's API: the connection `airflow_api`.

    Raises
    ------
    AirflowSilent
        If it does not answer, or not now.
    AirflowRefused
        If it does not let the caller, or has no such Dag.
    """
    planned = plan_announcement(notice, users, key, values, db=db)
    if not planned.ordinals:
        log.info("%s: %s was told before, by run %d", notice.name, key, planned.run_id)
        return planned
    # One run of the Dag for each of ours: who asks a second time asks for the same, or for what is left of it.
    name = f"announced_{planned.run_id}"
    asked_now = airflow.trigger(server, DAG_ID, name, {"run_id": planned.run_id}) or airflow.clear_run(
        server, DAG_ID, name
    )
    log.info("%s: run %d %s", notice.name, planned.run_id, "is on its way" if asked_now else "was on its way already")
    return planned


def _validate(notice: Notice, users: Collection[int], key: str, values: Mapping[str, object]) -> None:
    if not 0 < len(users) <= MAX_USERS:
        raise AnnouncementInvalid(notice, f"it is for {len(users):,} users, and may be for 1 to {MAX_USERS:,}")
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise AnnouncementInvalid(notice, f"its key must be printable, and of 1 to {MAX_KEY_LENGTH} characters")
    for user in users:
        if user not in _VALID_USER_IDS:
            raise AnnouncementInvalid(notice, f"{shortened(user)} is the id of no user")
    try:
        written = json.dumps(dict(values), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise AnnouncementInvalid(notice, f"its values are no JSON: {error}; write an amount as text") from None
    if r"\u0000" in written or any("\ud800" <= letter <= "\udfff" for letter in written):
        raise AnnouncementInvalid(notice, "its values hold characters that cannot be kept: NUL, or half of one")


def send_announced(
    conf: Mapping[str, Any],
    *,
    notices: Iterable[Notice],
    db: Connection,
    limiter: Limiter,
    build_senders: Callable[[Notice], Senders],
) -> dict[str, int]:
    """Send what is left of a run, chunk by chunk, and return what came of it.

    Parameters
    ----------
    conf
        The conf of the Dag's run: `{"run_id": 17}`.
    notices
        All that are declared.
    build_senders
        Returns the channels of a notice, closed.

    Raises
    ------
    AskedWrongly
        If the conf names no run, one that was not announced, or one of a notice that is not declared.
    """
    run_id = conf.get("run_id")
    if type(run_id) is not int:
        raise ConfInvalid("notify_now", f"run_id in its conf is {run_id!r}")
    run = runs.find(db, run_id)
    notice = next((notice for notice in notices if notice.name == run.notice), None)
    if notice is None:
        raise ConfInvalid("notify_now", f"run {run_id} is one of {run.notice}, which is not declared")
    if not run.is_announced:
        raise ConfInvalid("notify_now", f"run {run_id} was not announced; the Dag notify_{run.notice} sends it")
    for ordinal in chunks.list_unfinished(db, run_id):
        send(notice, run_id, ordinal, db=db, limiter=limiter, senders=build_senders(notice))
    return report_run(notice, run_id, db=db)
