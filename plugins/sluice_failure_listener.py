"""Listener that records why a task failed, for the alert about its run; only the task's own process has the error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.utils.state import TaskInstanceState

log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(
    previous_state: TaskInstanceState | None,  # noqa: ARG001 - Airflow passes arguments by name
    task_instance: Any,  # noqa: ANN401 - a different class in each of Airflow's components
    error: BaseException | str | None,
) -> None:
    """Record the error of an attempt, without secrets and without values of records."""
    if not isinstance(error, BaseException):
        return
    from airflow.sdk.log import redact  # type: ignore[attr-defined] # masks secrets as in the logs

    import sluice_connections as connections
    from etl.alerts.alert import TaskFailure, sanitize_message
    from etl.alerts.store import task_failures

    failure = TaskFailure(
        task_instance.task_id,
        -1 if task_instance.map_index is None else task_instance.map_index,
        task_instance.try_number,
        type(error).__name__,
        sanitize_message(str(redact(str(error))), type(error)),
    )
    try:
        with connections.warehouse() as db:
            task_failures.save(db, failure, dag_id=task_instance.dag_id, run_id=task_instance.run_id)
    except Exception as save_error:  # noqa: BLE001 - Airflow would log a second traceback below the task's own
        log.warning("the alert about the run will not say why this task failed: %s", save_error)
