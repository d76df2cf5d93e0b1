"""What the demo shows of what it brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from psycopg.rows import class_row, dict_row
from rich.table import Table

from etl.db.connection import Connection

_SELECT_CURRENCIES = """
select
    coalesce(t.currency, t.unofficial_currency) as currency,
    count(*)::int as transactions,
    sum(t.amount) filter (where t.amount > 0) as money_out,
    -sum(t.amount) filter (where t.amount < 0) as money_in
from core.transactions as t
where t.removed_at is null
group by 1
order by count(*) desc
"""
_SELECT_COUNTS = """
select
    (select count(*)::int from core.accounts) as accounts,
    (select count(*)::int from core.transactions where removed_at is null) as transactions,
    (select count(*)::int from core.merchants) as merchants
"""
_COUNT_NAMES = ("read", "inserted", "updated", "unchanged", "removed", "superseded", "stale", "rejected")


@dataclass(frozen=True)
class RowCounts:
    """Rows that the warehouse holds."""

    accounts: int
    transactions: int
    merchants: int


def count_rows(db: Connection) -> dict[str, int]:
    """Return how many rows each core table holds, tombstones excepted."""
    with db.cursor(row_factory=class_row(RowCounts)) as cursor:
        (found,) = cursor.execute(_SELECT_COUNTS).fetchall()
    return asdict(found)


def currency_table(db: Connection) -> Table:
    """Return the money that moved, a line for each currency: sums never cross currencies."""
    table = Table("currency", title="core.transactions")
    for heading in ("transactions", "money out", "money in"):
        table.add_column(heading, justify="right")
    with db.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_SELECT_CURRENCIES):
            money = (f"{row[name] or 0:,.3f}".rstrip("0").rstrip(".") for name in ("money_out", "money_in"))
            table.add_row(row["currency"], f"{row['transactions']:,}", *money)
    return table


def run_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Return what became of the records that each entity's run read, a column for each entity."""
    table = Table("records", title="this run")
    for entity in counts:
        table.add_column(entity, justify="right")
    for name in _COUNT_NAMES:
        table.add_row(name, *(f"{of_entity[name]:,}" for of_entity in counts.values()))
    return table
