"""Rejects: records that could not be typed or broke a rule, each with its place and reason."""

from collections.abc import Iterable

from psycopg.rows import scalar_row

from etl.rows import Reject
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse


def replace(warehouse: Warehouse, rejects: Iterable[Reject], *, raw_id: int, entity: str, version: int) -> int:
    """Keep the rejects of a batch, in place of those that the same version gave before, and return how many."""
    count = 0
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    with warehouse.transaction(), warehouse.cursor() as cursor:
        cursor.execute(statement("stores/rejects", "clear"), batch)
        with cursor.copy(statement("stores/rejects", "copy")) as copy:
            for reject in rejects:
                fault = reject.fault
                origin = (raw_id, entity, version, reject.provider_account_id, reject.line)
                copy.write_row((*origin, fault.path, fault.rule, fault.reason.replace("\x00", "\\0")))
                count += 1
    return count


def count(warehouse: Warehouse, *, raw_id: int, entity: str, version: int) -> int:
    """Return how many records of a batch were rejected."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        batch = {"raw_id": raw_id, "entity": entity, "version": version}
        (rejected,) = cursor.execute(statement("stores/rejects", "count"), batch).fetchall()
    return int(rejected)
