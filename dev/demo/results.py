"""Tables that show the results of the demo."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from etl.db.connection import Connection
from etl.db.statements import Statement

_SELECT_CURRENCIES = Statement("""
select
    coalesce(t.currency, t.unofficial_currency) as currency,
    count(*)::int as transactions,
    sum(t.amount) filter (where t.amount > 0) as money_out,
    -sum(t.amount) filter (where t.amount < 0) as money_in
from core.transactions as t
where t.removed_at is null
group by 1
order by count(*) desc
""")
_SELECT_COUNTS = Statement("""
select
    (select count(*)::int from core.accounts) as accounts,
    (select count(*)::int from core.transactions where removed_at is null) as transactions,
    (select count(*)::int from core.merchants) as merchants
""")
_COUNT_NAMES = ("read", "inserted", "updated", "unchanged", "removed", "superseded", "stale", "rejected", "quarantined")


def count_rows(db: Connection) -> dict[str, int]:
    """Return the number of rows in each core table, without tombstones."""
    (counts,) = _SELECT_COUNTS.dicts(db)
    return counts


def currency_table(db: Connection) -> Table:
    """Return the sums of money in and out, a line for each currency: amounts of two currencies are never added."""
    table = Table("currency", title="core.transactions")
    for heading in ("transactions", "money out", "money in"):
        table.add_column(heading, justify="right")
    for row in _SELECT_CURRENCIES.dicts(db):
        sums = (f"{row[name] or 0:,.3f}".rstrip("0").rstrip(".") for name in ("money_out", "money_in"))
        table.add_row(row["currency"], f"{row['transactions']:,}", *sums)
    return table


def run_table(counts: Mapping[str, Mapping[str, int]]) -> Table:
    """Return the number of records by disposition, a row for each entity; dispositions of no record are left out."""
    names = ["read", *(name for name in _COUNT_NAMES[1:] if any(each[name] for each in counts.values()))]
    table = Table("entity", title="records of this run")
    for name in names:
        table.add_column(name, justify="right")
    for entity, entity_counts in counts.items():
        table.add_row(entity, *(f"{entity_counts[name]:,}" for name in names))
    return table
