"""Results of earlier tasks, which are missing where a person marked such a task as success.

Airflow passes None in their place, and does not expand a task over a missing plan.
"""

from __future__ import annotations

import logging

from airflow.sdk import get_current_context

from etl.errors import PermanentError

log = logging.getLogger(__name__)


class TaskResultMissing(PermanentError):
    """An earlier task has no result."""

    def __init__(self, task: str, earlier: str) -> None:
        super().__init__(
            f"{task} got no result from {earlier}, which was marked as success by hand, or whose XCom was deleted; "
            f"clear {earlier}, with its downstream tasks: it continues where it stopped."
        )


def require_result(result: int | None, *, of: str) -> int:
    """Return the result of an earlier task: of the same chunk, if the task belongs to one.

    Parameters
    ----------
    of
        Name of that task, without its group.

    Raises
    ------
    TaskResultMissing
        If it has none.
    """
    if result is not None:
        return result
    task = get_current_context()["ti"]
    group, dot, name = task.task_id.rpartition(".")
    index = "" if task.map_index is None or task.map_index < 0 else f" [{task.map_index}]"
    raise TaskResultMissing(f"`{name}`{index}", f"`{group}{dot}{of}`{index if group else ''}")


def warn_if_not_planned() -> None:
    """Log a warning if `plan` of this run has no result, so that nothing of the run was expanded."""
    if get_current_context()["ti"].xcom_pull(task_ids="plan") is None:
        log.warning(
            "`plan` of this run has no result, so that nothing was done: it failed, or was marked as success by hand; "
            "clear `plan`, with its downstream tasks"
        )
