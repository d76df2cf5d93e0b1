"""Why tasks failed, and what of a run was left out, as its mail tells it."""

from dataclasses import asdict

from psycopg.rows import class_row

from etl.alerts.alert import RejectsByRule, TaskFailure
from etl.db.connection import Connection
from etl.db.statements import statement

_MAX_RULES = 3


def save(db: Connection, failure: TaskFailure, *, dag_id: str, run_id: str) -> None:
    """Keep the last failure of a task."""
    db.execute(statement("alerts/task_failures", "save"), {**asdict(failure), "dag_id": dag_id, "run_id": run_id})


def of_run(db: Connection, *, dag_id: str, run_id: str) -> list[TaskFailure]:
    """Return the failures of a run, the first ones first, retried ones among them."""
    run = {"dag_id": dag_id, "run_id": run_id, "limit": 100}
    with db.cursor(row_factory=class_row(TaskFailure)) as cursor:
        return cursor.execute(statement("alerts/task_failures", "of_run"), run).fetchall()


def count_rejects(db: Connection, *, entity: str, run_id: str) -> tuple[RejectsByRule, ...]:
    """Return how many records of a run broke which rule, the most frequent first, at most three."""
    run = {"entity": entity, "run_id": run_id, "limit": _MAX_RULES}
    with db.cursor(row_factory=class_row(RejectsByRule)) as cursor:
        return tuple(cursor.execute(statement("alerts/task_failures", "count_rejects"), run).fetchall())
