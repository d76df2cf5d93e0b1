"""Retry policy that decides by the type of the error whether, and after which wait, a task is retried."""

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
    """Fail at once on a permanent error; retry after any other, with exponential backoff and jitter.

    Airflow counts the attempts, and does not call a policy if a task was killed or its worker was lost: such a task is
    retried after its `retry_delay`.

    Airflow's own jitter ignores the map index, so the chunks of a run, which tend to fail together, would all be
    retried together.

    Parameters
    ----------
    base
        Longest wait before the first retry.
    cap
        Longest wait before any retry.
    """

    has_jitter = True
    """The cluster policy requires this attribute of every retry policy, also of those that are not ours."""

    def __init__(self, *, base: timedelta = timedelta(seconds=20), cap: timedelta = timedelta(minutes=5)) -> None:
        super().__init__(rules=[])
        self.base = base
        self.cap = cap

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow counts the attempts
        context: Context | None = None,  # noqa: ARG002 - the error decides
    ) -> RetryDecision:
        """Return whether to retry after an error, and when."""
        if _is_permanent(exception):
            return RetryDecision.fail(f"{type(exception).__name__} is a permanent error and needs a person to act.")
        wait = backoff(try_number, base=self.base, cap=self.cap, jitter=random.random())  # noqa: S311 - no secret
        message = str(exception) if isinstance(exception, MemoryError) else ""
        reason = message or f"{type(exception).__name__} may be transient"
        return RetryDecision.retry(wait, f"{reason}; next attempt in {wait.total_seconds():.0f} s.")


def _is_permanent(error: BaseException) -> bool:
    from etl.db import connection

    return isinstance(
        error, (PermanentError, DeclarationError, AirflowNotFoundException)
    ) or connection.is_permanent_error(error)


def backoff(attempt: int, *, base: timedelta, cap: timedelta, jitter: float) -> timedelta:
    """Return the wait before the next attempt.

    Parameters
    ----------
    attempt
        Number of the attempt that failed, 1-based.
    base, cap
        Longest wait after the first attempt, and after any attempt.
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
