"""A task that must wait for long gives its slot to others, and comes back. That spends no retry."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.exceptions import AirflowRescheduleException

from etl.errors import RetryAfter

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

JITTER_SHARE = 0.1
"""Share of a wait that is added at most, so that siblings that were told the same do not come back together."""


class RescheduleListener:
    """Hears of every task that starts, in the task's own process."""

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:  # noqa: ANN401 - Airflow's own differ
        """Let the task give way."""
        task_instance.task.execute = with_reschedule(task_instance.task.execute)


def with_reschedule(execute: Callable[[Context], object]) -> Callable[[Context], object]:
    """Return a task's `execute`, which ends early when it must wait and is run again afterwards."""

    @wraps(execute)
    def run(context: Context) -> object:
        try:
            return execute(context)
        except RetryAfter as must:
            back_at = reschedule_at(must.wait, as_of=datetime.now(UTC), jitter=random.random())  # noqa: S311 - no secret
            log.info("gives way until %s: %s", back_at.isoformat(timespec="seconds"), must)
            raise AirflowRescheduleException(back_at) from must  # type: ignore[no-untyped-call]

    return run


def reschedule_at(wait: timedelta, *, as_of: datetime, jitter: float) -> datetime:
    """Return when a task comes back: never before the wait is over.

    Parameters
    ----------
    jitter
        A random number from 0 to 1.
    """
    return as_of + wait * (1 + JITTER_SHARE * jitter)


class SluiceWaiting(AirflowPlugin):
    """Lets tasks give way."""

    name = "sluice_reschedule"
    listeners = [RescheduleListener()]  # noqa: RUF012 - as Airflow asks for them
