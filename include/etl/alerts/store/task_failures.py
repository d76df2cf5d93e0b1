"""Why tasks failed, and what of a run was left out, as its mail tells it."""

from dataclasses import asdict

from psycopg.rows import class_row

from etl.alerts.alert import Failure, Rejected
from etl.db.connection import Warehouse
from etl.db.statements import statement

_MOST = 3


def keep(warehouse: Warehouse, failure: Failure, *, dag_id: str, run_id: str) -> None:
    """Keep the last failure of a task."""
    warehouse.execute(
        statement("alerts/task_failures", "keep"), {**asdict(failure), "dag_id": dag_id, "run_id": run_id}
    )


def of_run(warehouse: Warehouse, *, dag_id: str, run_id: str) -> list[Failure]:
    """Return the failures of a run, the first ones first, retried ones among them."""
    run = {"dag_id": dag_id, "run_id": run_id, "limit": 100}
    with warehouse.cursor(row_factory=class_row(Failure)) as cursor:
        return cursor.execute(statement("alerts/task_failures", "of_run"), run).fetchall()


def rejects(warehouse: Warehouse, *, entity: str, run_id: str) -> tuple[Rejected, ...]:
    """Return how many records of a run broke which rule, the most frequent first, at most three."""
    run = {"entity": entity, "run_id": run_id, "limit": _MOST}
    with warehouse.cursor(row_factory=class_row(Rejected)) as cursor:
        return tuple(cursor.execute(statement("alerts/task_failures", "rejects"), run).fetchall())
