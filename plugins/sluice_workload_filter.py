"""Workers refuse messages that are no task of this deployment.

Whoever can write to the broker could otherwise run any function by its import path, on a worker that holds secrets.
A refused message is logged and dropped; if its task was a real one, the scheduler sends it again.
"""

from __future__ import annotations

import logging
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecuteTask
    from celery import Celery

log = logging.getLogger(__name__)

MAX_LENGTH = 64 * 1024
"""Characters of a message; those of the scheduler have about two thousand."""
_TASK = "execute_workload"
"""Celery task of all messages of the scheduler."""


def restrict(app: Celery) -> None:
    """Make the workers of a Celery app refuse all but tasks of declared Dag bundles."""
    from celery.exceptions import Reject

    # Celery's own tasks run any other one, or wait for it.
    for name in [name for name in app.tasks if name != _TASK]:
        app.tasks.unregister(name)
    task = app.tasks[_TASK]
    execute = task.run

    @wraps(execute)
    def run(message: str) -> Any:  # noqa: ANN401 - whatever Airflow returns
        if reason := find_refusal(message):
            log.error("refused message %s, which is no task of this deployment: %s", task.request.id, reason)
            raise Reject(reason, requeue=False)
        return execute(message)

    task.run = run


def find_refusal(message: str) -> str | None:
    """Return why a message is refused; None if it is a task of a declared Dag bundle.

    The reason never quotes the message, which is an attacker's or holds a token.
    """
    from airflow.executors.workloads import ExecuteTask, ExecutorWorkload
    from pydantic import TypeAdapter, ValidationError

    if len(message) > MAX_LENGTH:
        return f"it has {len(message):,} characters, more than {MAX_LENGTH:,}"
    try:
        workload = TypeAdapter[Any](ExecutorWorkload).validate_json(message)
    except (ValidationError, RecursionError):
        return "it is no workload of Airflow"
    if not isinstance(workload, ExecuteTask):
        return f"it is a workload of type {type(workload).__name__}; workers execute tasks only"
    return _find_foreign_part(workload)


def _find_foreign_part(workload: ExecuteTask) -> str | None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.providers.celery.executors.celery_executor import CeleryExecutor

    try:
        manager = DagBundlesManager()  # type: ignore[no-untyped-call]
        bundle = manager.get_bundle(workload.bundle_info.name, workload.bundle_info.version)
    except ValueError:
        return "its Dag bundle is not declared"
    if workload.bundle_info.version is not None and not bundle.supports_versioning:
        return "it names a version of a Dag bundle that has none"
    if not _is_within(bundle.path, Path(workload.dag_rel_path)) or Path(workload.dag_rel_path).suffix != ".py":
        return "its Dag file is not in its bundle"
    if workload.log_path is not None and not _is_within(Path("/"), Path(workload.log_path)):
        return "its log is outside of the logs"
    # Airflow imports what this names.
    if workload.sentry_integration not in ("", CeleryExecutor.sentry_integration):
        return "it names an integration that the scheduler never names"
    return None


def _is_within(folder: Path, path: Path) -> bool:
    """Return whether a relative path leads to a file below a folder, whatever links it follows."""
    return (
        not path.is_absolute() and ".." not in path.parts and (folder / path).resolve().is_relative_to(folder.resolve())
    )
