"""Occasion: which period a run of a notice's Dag is about, and what it was asked for."""

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
from etl.notify.store import chunks, runs

log = logging.getLogger(__name__)


class ConfInvalid(PermanentError):
    """What the run of a Dag was asked for makes no sense."""

    def __init__(self, dag: str, detail: str) -> None:
        super().__init__(
            f'{dag}: {detail}; write the conf of its run as in {{"period": "2026-10"}}, {{"run_id": 17}} or '
            '{"parameters": {…}}.'
        )


@dataclass(frozen=True)
class RunRequest:
    """A run of a notice's Dag.

    Parameters
    ----------
    trigger
        Its id.
    run_type
        Airflow's name for why it runs: `scheduled`, `asset_triggered`, `backfill`, `manual`, …
    logical_date
        From when on it may run.
    data_interval
        The data interval that it is about; None if it has none.
    conf
        Its conf.
    """

    trigger: str
    run_type: str
    logical_date: datetime
    data_interval: tuple[datetime, datetime] | None = None
    conf: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_explicit_send(self) -> bool:
        """Whether it sends nothing unless it is asked to: nobody wants the mails of all past months."""
        return self.run_type == "backfill"


def plan_requested_run(notice: Notice, request: RunRequest, *, db: Connection) -> PlannedRun | None:
    """Plan what a run of a notice's Dag sends; None if it is to send nothing.

    Raises
    ------
    AskedWrongly
        If its conf holds something else than it should, or names a run of another notice.
    """
    _validate_conf(notice, request.conf)
    if "period" in request.conf and not notice.has_period_ended(request.conf["period"], datetime.now(UTC)):
        raise ConfInvalid(
            notice.name, f"{request.conf['period']!r} is not over, and would not be sent again when it is"
        )
    if request.needs_explicit_send and request.conf.get("send") != notice.name:
        log.warning(
            '%s: a backfill sends nothing unless it is asked to: `airflow backfill create … --dag-run-conf \'{"send": '
            '"%s"}\'`',
            notice.name,
            notice.name,
        )
        return None
    if "run_id" in request.conf:
        return _plan_remaining(notice, request.conf["run_id"], db=db)
    named, now = requested_period(notice, request), datetime.now(UTC)
    as_of = request.data_interval[1] if request.run_type == "scheduled" and request.data_interval else now
    if notice.expiry and as_of + notice.expiry <= now and runs.find_by_period(db, notice, named) is None:
        log.warning(
            "%s: %s was due at %s and of no use after %s, so nothing is sent; if it shall be all the same, trigger the "
            'Dag with the conf {"period": "%s"}',
            notice.name,
            named,
            as_of.isoformat(timespec="seconds"),
            notice.expiry,
            named,
        )
        return None
    parameters = request.conf.get("parameters")
    return plan_run(notice, named, trigger=request.trigger, as_of=as_of, db=db, parameters=parameters)


def requested_period(notice: Notice, request: RunRequest) -> str:
    """Return the period that a run is about: the one that it was asked for, or else that of its data interval.

    A run without an interval is about the last one that was over; of a notice without a timetable, about its moment.
    """
    if "period" in request.conf:
        return str(request.conf["period"])
    if request.data_interval:
        return notice.period_starting(request.data_interval[0])
    return notice.default_period(request.logical_date)


def _plan_remaining(notice: Notice, run_id: int, *, db: Connection) -> PlannedRun:
    run = runs.find(db, run_id)
    if run.notice != notice.name:
        raise ConfInvalid(notice.name, f"run {run_id} is one of {run.notice}")
    ordinals = chunks.list_unfinished(db, run_id)
    log.info("%s %s: %d chunks of run %d are still to be sent", notice.name, run.period, len(ordinals), run_id)
    return PlannedRun(run_id, ordinals)


def _validate_conf(notice: Notice, conf: Mapping[str, Any]) -> None:
    wanted = {"period": str, "run_id": int, "parameters": dict}
    for name, kind in wanted.items():
        value = conf.get(name, kind(1) if kind is int else kind())
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ConfInvalid(notice.name, f"{name} in its conf is {shortened(value)}")
    if conf.get("period") == "":
        raise ConfInvalid(notice.name, "period in its conf is empty")
    if "period" in conf and not notice.is_valid_period(conf["period"]):
        # Another spelling of a period is another period, and everybody would be told of it twice.
        raise ConfInvalid(notice.name, f"{shortened(conf['period'])} is no period as {notice.period!r} has it")
