"""What a replay changed: rows that are not what they were, and the money in them.

It compares `before_replay`, see `before`, with the core table as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Composed, Identifier

from etl.declare.entity import Entity, Kind
from etl.stores.before import REMOVED, can_be_removed, changeable, columns
from etl.stores.incoming import core, same_key
from etl.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Change:
    """A row that is not what it was.

    Parameters
    ----------
    key
        Its key, by column.
    before
        Its values before, by column; None if there was no such row.
    after
        Its values now.
    """

    key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any]


@dataclass(frozen=True)
class Total:
    """Money of the rows in question, tombstones excepted, in one currency.

    Parameters
    ----------
    column
        The column that is summed.
    currency
        What it is summed in.
    before, after
        The sums.
    """

    column: str
    currency: str
    before: Decimal
    after: Decimal


def rows(warehouse: Warehouse, entity: Entity, *, limit: int) -> tuple[list[Change], int]:
    """Return the rows that are not what they were, in the order of their keys, and how many there are.

    Parameters
    ----------
    limit
        Most rows to return.
    """
    shown = changeable(entity)
    query = SQL(
        "select b.observed_at is not null as known, count(*) over () as changes, {key}, {before}, {after} "
        "from before_replay as b inner join {core} as c on {same} "
        "where b.observed_at is null or ({b}) is distinct from ({c}) order by {key} limit %(limit)s"
    ).format(
        key=columns("c", entity.key),
        before=SQL(", ").join(
            SQL("{} as {}").format(Identifier("b", name), Identifier(f"before {name}")) for name in shown
        ),
        after=columns("c", shown),
        core=core(entity),
        same=same_key(entity, "b", "c"),
        b=columns("b", shown),
        c=columns("c", shown),
    )
    with warehouse.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, {"limit": limit}).fetchall()
    changed = [
        Change(
            key={name: row[name] for name in entity.key},
            before={name: row[f"before {name}"] for name in shown} if row["known"] else None,
            after={name: row[name] for name in shown},
        )
        for row in found
    ]
    return changed, found[0]["changes"] if found else 0


def totals(warehouse: Warehouse, entity: Entity) -> list[Total]:
    """Return the money in the rows in question before and now, by column and currency."""
    found: list[Total] = []
    for column in entity.columns:
        if column.kind is Kind.MONEY:
            with warehouse.cursor(row_factory=tuple_row) as cursor:
                sums = cursor.execute(_sums(entity, column.name)).fetchall()
            found.extend(Total(column.name, *row) for row in sums)
    return found


def _sums(entity: Entity, column: str) -> Composed:
    return SQL(
        "select s.currency, coalesce(sum(s.before), 0), coalesce(sum(s.after), 0) from ("
        "select coalesce({currency_before}, '') as currency, {before} as before, 0 as after from before_replay as b "
        "where {before} is not null and {live_before} "
        "union all "
        "select coalesce({currency}, ''), 0, {after} from before_replay as b inner join {core} as c on {same} "
        "where {after} is not null and {live}) as s group by s.currency order by s.currency"
    ).format(
        currency_before=columns("b", entity.currencies),
        before=Identifier("b", column),
        live_before=_live(entity, "b"),
        currency=columns("c", entity.currencies),
        after=Identifier("c", column),
        core=core(entity),
        same=same_key(entity, "b", "c"),
        live=_live(entity, "c"),
    )


def _live(entity: Entity, alias: str) -> SQL | Composed:
    return SQL("{} is null").format(Identifier(alias, REMOVED)) if can_be_removed(entity) else SQL("true")
