"""Occasion: which period a run of a notice's Dag is about, and what it was asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from reprlib import repr as shortened
from typing import Any

from etl.db.connection import Warehouse
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.plan import Planned, plan_notice
from etl.notify.store import chunks, runs

log = logging.getLogger(__name__)


class AskedWrongly(PermanentError):
    """What the run of a Dag was asked for makes no sense."""

    def __init__(self, dag: str, found: str) -> None:
        super().__init__(
            f'{dag}: {found}; write the conf of its run as in {{"period": "2026-10"}}, {{"run_id": 17}} or '
            '{"parameters": {…}}.'
        )


@dataclass(frozen=True)
class Occasion:
    """A run of a notice's Dag.

    Parameters
    ----------
    trigger
        Its id.
    kind
        Airflow's name for why it runs: `scheduled`, `asset_triggered`, `backfill`, `manual`, …
    at
        From when on it may run.
    interval
        The data interval that it is about; None if it has none.
    asked
        Its conf.
    """

    trigger: str
    kind: str
    at: datetime
    interval: tuple[datetime, datetime] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_silent(self) -> bool:
        """Whether it sends nothing unless it is asked to: nobody wants the mails of all past months."""
        return self.kind == "backfill"


def plan_occasion(notice: Notice, occasion: Occasion, *, warehouse: Warehouse) -> Planned | None:
    """Plan what a run of a notice's Dag sends; None if it is to send nothing.

    Raises
    ------
    AskedWrongly
        If its conf holds something else than it should, or names a run of another notice.
    """
    _check(notice, occasion.asked)
    if "period" in occasion.asked and not notice.is_over(occasion.asked["period"], datetime.now(UTC)):
        raise AskedWrongly(
            notice.name, f"{occasion.asked['period']!r} is not over, and would not be sent again when it is"
        )
    if occasion.is_silent and occasion.asked.get("send") != notice.name:
        log.warning(
            '%s: a backfill sends nothing unless it is asked to: `airflow backfill create … --dag-run-conf \'{"send": '
            '"%s"}\'`',
            notice.name,
            notice.name,
        )
        return None
    if "run_id" in occasion.asked:
        return _continued(notice, occasion.asked["run_id"], warehouse=warehouse)
    named, now = period(notice, occasion), datetime.now(UTC)
    as_of = occasion.interval[1] if occasion.kind == "scheduled" and occasion.interval else now
    if notice.expiry and as_of + notice.expiry <= now and runs.of_period(warehouse, notice, named) is None:
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
    parameters = occasion.asked.get("parameters")
    return plan_notice(notice, named, trigger=occasion.trigger, as_of=as_of, warehouse=warehouse, parameters=parameters)


def period(notice: Notice, occasion: Occasion) -> str:
    """Return the period that a run is about: the one that it was asked for, or else that of its data interval.

    A run without an interval is about the last one that was over; of a notice without a timetable, about its moment.
    """
    if "period" in occasion.asked:
        return str(occasion.asked["period"])
    if occasion.interval:
        return notice.period_of(occasion.interval[0])
    return notice.period_at(occasion.at)


def _continued(notice: Notice, run_id: int, *, warehouse: Warehouse) -> Planned:
    run = runs.find(warehouse, run_id)
    if run.notice != notice.name:
        raise AskedWrongly(notice.name, f"run {run_id} is one of {run.notice}")
    ordinals = chunks.unfinished(warehouse, run_id)
    log.info("%s %s: %d chunks of run %d are still to be sent", notice.name, run.period, len(ordinals), run_id)
    return Planned(run_id, ordinals)


def _check(notice: Notice, asked: Mapping[str, Any]) -> None:
    wanted = {"period": str, "run_id": int, "parameters": dict}
    for name, kind in wanted.items():
        value = asked.get(name, kind(1) if kind is int else kind())
        if not isinstance(value, kind) or isinstance(value, bool):
            raise AskedWrongly(notice.name, f"{name} in its conf is {shortened(value)}")
    if asked.get("period") == "":
        raise AskedWrongly(notice.name, "period in its conf is empty")
    if "period" in asked and not notice.has_period(asked["period"]):
        # Another spelling of a period is another period, and everybody would be told of it twice.
        raise AskedWrongly(notice.name, f"{shortened(asked['period'])} is no period as {notice.period!r} has it")
