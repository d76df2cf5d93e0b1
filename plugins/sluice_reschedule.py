"""The `task` decorator of Sluice's Dags: it reschedules a task that raises `RetryAfter`, or whose worker must end.

A rescheduled task gives up its slot until the wait is over, and spends no retry.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow.sdk import task as airflow_task
from airflow.sdk.exceptions import AirflowRescheduleException

from etl.errors import RetryAfter

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import Task, TaskDecorator

log = logging.getLogger(__name__)

JITTER_SHARE = 0.1
"""Share of a wait that is added at most, so that sibling tasks with the same wait do not all resume at once."""

_HANDOVER = timedelta(seconds=10)
"""Until then, the worker has ended."""

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class HandedBack(RetryAfter):
    """The worker of a task must end before the task does."""

    def __init__(self) -> None:
        super().__init__(
            "the worker has to end, and the task is handed back: it continues on another worker", _HANDOVER
        )


def task(**arguments: Any) -> Callable[[Callable[_Parameters, _Result]], Task[_Parameters, _Result]]:  # noqa: ANN401 - as Airflow has them
    """Return a decorator that turns a function into a task, as `airflow.sdk.task` does with the same arguments."""

    def decorate(function: Callable[_Parameters, _Result]) -> Task[_Parameters, _Result]:
        decorator: TaskDecorator = airflow_task(**arguments)
        return decorator(reschedule_on_retry_after(function))

    return decorate


def reschedule_on_retry_after(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Return a function that asks Airflow to reschedule its task where `function` raises `RetryAfter`.

    Raises
    ------
    TypeError
        If the function is asynchronous: what it raises would not be seen.
    """
    if iscoroutinefunction(function):
        raise TypeError(
            f"task {function.__name__} is asynchronous and would not be rescheduled; write it without `async`"
        )

    @wraps(function)
    def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        try:
            with _handed_back_on_termination():
                return function(*args, **kwargs)
        except RetryAfter as error:
            resume_at = reschedule_at(error.wait, as_of=datetime.now(UTC), jitter=random.random())  # noqa: S311 - no secret
            log.info("rescheduled to %s: %s", resume_at.isoformat(timespec="seconds"), error)
            raise AirflowRescheduleException(resume_at) from error  # type: ignore[no-untyped-call]

    return run


@contextmanager
def _handed_back_on_termination() -> Iterator[None]:
    """Raise `HandedBack` in the block if this process is asked to end; Airflow would let it run until it is killed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process_id = os.getpid()

    def hand_back(*_: object) -> None:
        if os.getpid() == process_id:
            raise HandedBack

    earlier = signal.signal(signal.SIGTERM, hand_back)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def reschedule_at(wait: timedelta, *, as_of: datetime, jitter: float) -> datetime:
    """Return when a task runs again: never before its wait is over.

    Parameters
    ----------
    jitter
        A random number from 0 to 1.
    """
    return as_of + wait * (1 + JITTER_SHARE * jitter)
