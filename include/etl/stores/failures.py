"""Why tasks failed, and what of a run was left out, as its mail tells it."""

from dataclasses import asdict

from psycopg.rows import class_row

from etl.promise.failure import Failure
from etl.promise.news import Rejected
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

_MOST = 3


def keep(warehouse: Warehouse, failure: Failure, *, dag_id: str, run_id: str) -> None:
    """Keep the last failure of a task."""
    warehouse.execute(statement("stores/failures", "keep"), {**asdict(failure), "dag_id": dag_id, "run_id": run_id})


def of_run(warehouse: Warehouse, *, dag_id: str, run_id: str) -> list[Failure]:
    """Return the failures of a run, the first ones first, retried ones among them."""
    run = {"dag_id": dag_id, "run_id": run_id, "limit": 100}
    with warehouse.cursor(row_factory=class_row(Failure)) as cursor:
        return cursor.execute(statement("stores/failures", "of_run"), run).fetchall()


def rejects(warehouse: Warehouse, *, entity: str, run_id: str) -> tuple[Rejected, ...]:
    """Return how many records of a run broke which rule, the most frequent first, at most three."""
    run = {"entity": entity, "run_id": run_id, "limit": _MOST}
    with warehouse.cursor(row_factory=class_row(Rejected)) as cursor:
        return tuple(cursor.execute(statement("stores/failures", "rejects"), run).fetchall())
