"""Run request: which period a Dag run of a notice is for, and which run its conf asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from reprlib import repr as shortened
from typing import Any

from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.plan import PlannedRun, plan_run
from etl.notify.store import chunks, restores, runs

log = logging.getLogger(__name__)


class ConfInvalid(PermanentError):
    """The conf of a Dag run is invalid."""

    def __init__(self, dag: str, detail: str) -> None:
        super().__init__(
            f'{dag}: {detail}; write the conf of its run as in {{"period": "2026-10"}}, {{"run_id": 17}} or '
            '{"parameters": {…}}.'
        )


@dataclass(frozen=True)
class RunRequest:
    """A Dag run of a notice.

    Parameters
    ----------
    trigger
        Its id.
    run_type
        Airflow's run type: `scheduled`, `asset_triggered`, `backfill`, `manual`, …
    run_at
        Logical date, or the time after which it may run if it has none.
    data_interval
        Its data interval; None if it has none.
    conf
        Its conf.
    """

    trigger: str
    run_type: str
    run_at: datetime
    data_interval: tuple[datetime, datetime] | None = None
    conf: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_explicit_send(self) -> bool:
        """Whether it sends only if its conf says so: nobody wants the mails of all past months."""
        return self.run_type == "backfill"


def plan_requested_run(notice: Notice, request: RunRequest, *, db: Connection) -> PlannedRun | None:
    """Plan what a Dag run of a notice sends; return None if it is to send nothing.

    Raises
    ------
    ConfInvalid
        If its conf has an invalid value, or names a run of another notice.
    """
    _validate_conf(notice, request.conf)
    if "period" in request.conf and not notice.has_period_ended(request.conf["period"], datetime.now(UTC)):
        raise ConfInvalid(
            notice.name, f"period {request.conf['period']!r} has not ended, and would not be sent again when it has"
        )
    if request.needs_explicit_send and request.conf.get("send") != notice.name:
        log.warning(
            "%s: a backfill sends nothing unless its conf says so: `airflow backfill create … --dag-run-conf "
            '\'{"send": "%s"}\'`',
            notice.name,
            notice.name,
        )
        return None
    if "run_id" in request.conf:
        return _plan_remaining(notice, request.conf["run_id"], db=db)
    period, now = requested_period(notice, request), datetime.now(UTC)
    as_of = request.data_interval[1] if request.run_type == "scheduled" and request.data_interval else now
    if notice.expiry and as_of + notice.expiry <= now and runs.find_by_period(db, notice, period) is None:
        log.warning(
            "%s: %s was due at %s and expired after %s, so nothing is sent; to send it anyway, trigger the Dag with "
            'the conf {"period": "%s"}',
            notice.name,
            period,
            as_of.isoformat(timespec="seconds"),
            notice.expiry,
            period,
        )
        return None
    if "period" not in request.conf and _is_before_restore(notice, period, as_of, db=db):
        return None
    parameters = request.conf.get("parameters")
    return plan_run(notice, period, trigger=request.trigger, as_of=as_of, db=db, parameters=parameters)


def requested_period(notice: Notice, request: RunRequest) -> str:
    """Return the period of a run: the one that its conf names, or else that of its data interval.

    A run without a data interval is for the last interval that has ended, or for the present moment if the notice has
    no timetable.
    """
    if "period" in request.conf:
        return str(request.conf["period"])
    if request.data_interval:
        return notice.period_starting(request.data_interval[0])
    return notice.default_period(request.run_at)


def _is_before_restore(notice: Notice, period: str, as_of: datetime, *, db: Connection) -> bool:
    """Return whether a run was due when the ledger, restored since, did not know what was sent; log what to do."""
    restores.require_trusted(db)
    trusted_since = restores.find_trusted_since(db)
    if trusted_since is None or as_of >= trusted_since or runs.find_by_period(db, notice, period) is not None:
        return False
    log.warning(
        "%s: %s was due at %s, and the ledger, restored from a backup, is trusted only since %s, so nothing is sent; "
        'if nobody has got it, trigger the Dag with the conf {"period": "%s"}',
        notice.name,
        period,
        as_of.isoformat(timespec="seconds"),
        trusted_since.isoformat(timespec="seconds"),
        period,
    )
    return True


def _plan_remaining(notice: Notice, run_id: int, *, db: Connection) -> PlannedRun:
    run = runs.find(db, run_id)
    if run.notice != notice.name:
        raise ConfInvalid(notice.name, f"run {run_id} belongs to notice {run.notice}")
    ordinals = chunks.list_unfinished(db, run_id)
    log.info("%s %s: %d chunks of run %d are still to be sent", notice.name, run.period, len(ordinals), run_id)
    return PlannedRun(run_id, ordinals)


def _validate_conf(notice: Notice, conf: Mapping[str, Any]) -> None:
    types = {"period": str, "run_id": int, "parameters": dict}
    for name, expected_type in types.items():
        value = conf.get(name, expected_type(1) if expected_type is int else expected_type())
        if not isinstance(value, expected_type) or isinstance(value, bool):
            raise ConfInvalid(notice.name, f"{name} in its conf is {shortened(value)}")
    if conf.get("period") == "":
        raise ConfInvalid(notice.name, "period in its conf is empty")
    if "period" in conf and not notice.is_valid_period(conf["period"]):
        # Another spelling of a period would be another period, and everybody would get its notice twice.
        raise ConfInvalid(notice.name, f"period {shortened(conf['period'])} does not have the format {notice.period!r}")
