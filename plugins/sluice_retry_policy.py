"""When a failed task is tried again: decided by the type of its error."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import ExceptionRetryPolicy, RetryDecision
from airflow.sdk.exceptions import AirflowNotFoundException

from etl.errors import DeclarationError, PermanentError

if TYPE_CHECKING:
    from airflow.sdk import Context


class ErrorTypeRetryPolicy(ExceptionRetryPolicy):
    """Permanent errors fail at once; all others wait, twice as long each time, half of it by chance.

    Airflow counts the tries, and asks no policy about a task that was killed or whose worker was lost: those wait for
    the task's `retry_delay`.

    Airflow's own jitter leaves the map index out, so that the chunks of a run, which tend to fail together, would all
    be tried again together.

    Parameters
    ----------
    base
        The longest wait before the first retry.
    cap
        The longest wait of all.
    """

    has_jitter = True
    """What the cluster policy asks of a retry policy, whoever wrote it."""

    def __init__(self, *, base: timedelta = timedelta(seconds=20), cap: timedelta = timedelta(minutes=5)) -> None:
        super().__init__(rules=[])
        self.base = base
        self.cap = cap

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow counts the tries
        context: Context | None = None,  # noqa: ARG002 - the error decides
    ) -> RetryDecision:
        """Return what to do about an error."""
        if _is_permanent(exception):
            return RetryDecision.fail(f"{type(exception).__name__} is permanent: a person must act.")
        wait = backoff(try_number, base=self.base, cap=self.cap, jitter=random.random())  # noqa: S311 - no secret
        told = str(exception) if isinstance(exception, MemoryError) else ""
        reason = told or f"{type(exception).__name__} may pass"
        return RetryDecision.retry(wait, f"{reason}; next try in {wait.total_seconds():.0f} s.")


def _is_permanent(error: BaseException) -> bool:
    from etl.db import connection

    return isinstance(
        error, (PermanentError, DeclarationError, AirflowNotFoundException)
    ) or connection.is_permanent_error(error)


def backoff(attempt: int, *, base: timedelta, cap: timedelta, jitter: float) -> timedelta:
    """Return the wait before the next try.

    Parameters
    ----------
    attempt
        The attempt that failed, 1-based.
    base, cap
        The longest wait after the first attempt, and after any.
    jitter
        A random number from 0 to 1.

    Returns
    -------
    timedelta
        Between half and all of min(base * 2**(attempt - 1), cap).

    Source: Brooker, "Exponential Backoff And Jitter", AWS (2015), "equal jitter".
    """
    longest = min(base * 2.0 ** min(attempt - 1, 32), cap)
    return longest * (1 + jitter) / 2
