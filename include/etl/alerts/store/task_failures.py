"""Failures of tasks (table `etl.failures`) and counts of rejected records, for the alert about a failed run."""

from dataclasses import asdict

from etl.alerts.alert import RejectsByRule, TaskFailure
from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("alerts/task_failures")

_MAX_FAILURES = 100
_MAX_RULES = 3


def save(db: Connection, failure: TaskFailure, *, dag_id: str, run_id: str) -> None:
    """Save the last failure of a task."""
    _SQL["save"].run(db, {**asdict(failure), "dag_id": dag_id, "run_id": run_id})


def of_run(db: Connection, *, dag_id: str, run_id: str) -> list[TaskFailure]:
    """Return the failures of a run's tasks, at most 100, the earliest first, including those of tasks retried since."""
    return _SQL["of_run"].objects(db, TaskFailure, {"dag_id": dag_id, "run_id": run_id, "limit": _MAX_FAILURES})


def count_rejects(db: Connection, *, entity: str, run_id: str) -> tuple[RejectsByRule, ...]:
    """Return how many records of a run broke which rule, the most frequent first, at most three."""
    values = {"entity": entity, "run_id": run_id, "limit": _MAX_RULES}
    return tuple(_SQL["count_rejects"].objects(db, RejectsByRule, values))
