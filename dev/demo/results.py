"""What the demo shows: progress while a run is under way, and what it brought."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row, dict_row
from rich.table import Table

from etl.declare.entity import Entity
from etl.stores import plans
from etl.stores.warehouse import Warehouse

_CURRENCIES = """
select t.currency, count(*)::int as transactions, sum(t.amount) filter (where t.amount > 0) as money_out,
    -sum(t.amount) filter (where t.amount < 0) as money_in
from core.transactions as t
where t.removed_at is null
group by t.currency
order by count(*) desc
"""
_SIZE = """
select
    (select count(*)::int from core.provider_accounts) as provider_accounts,
    (select count(*)::int from core.transactions where removed_at is null) as transactions
"""


@dataclass(frozen=True)
class Size:
    """What the warehouse holds."""

    provider_accounts: int
    transactions: int


def size(warehouse: Warehouse) -> Size:
    """Return what the warehouse holds."""
    with warehouse.cursor(row_factory=class_row(Size)) as cursor:
        (found,) = cursor.execute(_SIZE).fetchall()
    return found


def totals(warehouse: Warehouse, entity: Entity, run_id: str) -> dict[str, int]:
    """Return what a run loaded so far; see `etl.stores.plans.totals`."""
    return plans.totals(warehouse, entity=entity.name, run_id=run_id, version=entity.version)


def by_currency(warehouse: Warehouse) -> Table:
    """Return the money that moved, a line for each currency: sums never cross currencies."""
    table = Table("currency", title="core.transactions")
    for heading in ("transactions", "money out", "money in"):
        table.add_column(heading, justify="right")
    with warehouse.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_CURRENCIES):
            money = (f"{row[name] or 0:,.3f}".rstrip("0").rstrip(".") for name in ("money_out", "money_in"))
            table.add_row(row["currency"], f"{row['transactions']:,}", *money)
    return table


def of_run(counts: dict[str, int]) -> Table:
    """Return what became of the records that a run read."""
    table = Table("of the records read", title="this run")
    table.add_column("count", justify="right")
    for name in ("read", "inserted", "updated", "unchanged", "removed", "superseded", "stale", "rejected"):
        table.add_row(name, f"{counts[name]:,}")
    return table
