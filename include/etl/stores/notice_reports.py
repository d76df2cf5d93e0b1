"""What the report of a run of a notice found."""

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse


def keep(warehouse: Warehouse, run_id: int, totals: Mapping[str, int]) -> None:
    """Remember what came of a run, in place of what an earlier report found."""
    warehouse.execute(statement("stores/notice_reports", "keep"), {"run_id": run_id, "totals": Jsonb(dict(totals))})
