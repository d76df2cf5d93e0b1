"""Deadlines of Dags: the time from which they count, the checks before they pass, and the callbacks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

import sluice_alerts
from etl.alerts.alert import RUN_TYPES_WITH_DEADLINE
from sluice_cluster_policy import NO_DEADLINE_TAG

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

CHECK_SHARES = (0.5, 0.75, 0.9, 1.0)
"""Shares of the time until the deadline at which a run is checked; the last check is at the deadline."""


class RunDue(BaseDeadlineReference):
    """Time from which a run's deadline counts: the end of its data interval, or the time when an asset triggered it.

    Backfills and manual runs have no deadline. For the first scheduled run of a new Dag, or after a pause, it counts
    from the run's creation, if that is later than the end of its data interval.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None or run.run_type not in RUN_TYPES_WITH_DEADLINE:
            return None
        created_at: datetime = run.queued_at or run.run_after
        if run.data_interval_end is None or run.run_type != "scheduled":
            return created_at
        previous_run = select(DagRun.id).where(
            DagRun.dag_id == dag_id,
            DagRun.run_type == "scheduled",
            DagRun.data_interval_end == run.data_interval_start,
            DagRun.id != run.id,
        )
        has_previous_run = session.scalar(previous_run.limit(1)) is not None
        interval_end: datetime = run.data_interval_end
        return interval_end if has_previous_run else max(interval_end, created_at)


def deadline_arguments(within: timedelta | None, *, entity: str = "") -> dict[str, Any]:
    """Return the arguments of `DAG` that declare its deadline.

    Parameters
    ----------
    within
        Time from when a run is due (see `RunDue`) until its deadline; None if the Dag has no deadline.
    entity
        Entity that the run's chunks load; empty if it has none.
    """
    if within is None:
        return {"tags": [NO_DEADLINE_TAG]}
    return {
        "deadline": [_deadline_alert(within, share, entity) for share in CHECK_SHARES],
        "on_success_callback": _run_callback(sluice_alerts.on_success, entity),
        "on_failure_callback": _run_callback(sluice_alerts.on_failure, entity),
    }


def _deadline_alert(within: timedelta, share: float, entity: str) -> DeadlineAlert:
    arguments = {"entity": entity, "seconds_left": (1 - share) * within.total_seconds()}
    callback = AsyncCallback(sluice_alerts.on_deadline, kwargs=arguments)
    return DeadlineAlert(RunDue(), within * share, callback, name=f"{share:.0%} of the time until the deadline")


def _run_callback(function: Callable[..., None], entity: str) -> Callable[..., None]:
    return partial(function, entity=entity)
