"""How a Dag declares when its scheduled runs promise to be done, and what happens on the way there."""

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
"""Shares of the promised time after which a run is looked at; the last one is the promise."""


class RunDue(BaseDeadlineReference):
    """When a run became due: at the end of its data interval, or when it was triggered; never for other runs.

    Backfills and manual runs promise nothing. A run that is made after a gap, because its Dag was paused or is new, was
    not due before it was made.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None or run.run_type not in RUN_TYPES_WITH_DEADLINE:
            return None
        made_at: datetime = run.queued_at or run.run_after
        if run.data_interval_end is None or run.run_type != "scheduled":
            return made_at
        before = select(DagRun.id).where(
            DagRun.dag_id == dag_id,
            DagRun.run_type == "scheduled",
            DagRun.data_interval_end == run.data_interval_start,
            DagRun.id != run.id,
        )
        follows = session.scalar(before.limit(1)) is not None
        due: datetime = run.data_interval_end
        return due if follows else max(due, made_at)


def deadline_arguments(within: timedelta | None, *, entity: str = "") -> dict[str, Any]:
    """Return the arguments by which a Dag declares its promise.

    Parameters
    ----------
    within
        The time from when a run is due until it promises to be done; None if it promises nothing.
    entity
        The entity that its chunks load; empty if it has none.
    """
    if within is None:
        return {"tags": [NO_DEADLINE_TAG]}
    return {
        "deadline": [_deadline_alert(within, share, entity) for share in CHECK_SHARES],
        "on_success_callback": _run_callback(sluice_alerts.on_success, entity),
        "on_failure_callback": _run_callback(sluice_alerts.on_failure, entity),
    }


def _deadline_alert(within: timedelta, share: float, entity: str) -> DeadlineAlert:
    told = {"entity": entity, "seconds_left": (1 - share) * within.total_seconds()}
    callback = AsyncCallback(sluice_alerts.on_deadline, kwargs=told)
    return DeadlineAlert(RunDue(), within * share, callback, name=f"{share:.0%} of the promise")


def _run_callback(function: Callable[..., None], entity: str) -> Callable[..., None]:
    return partial(function, entity=entity)
