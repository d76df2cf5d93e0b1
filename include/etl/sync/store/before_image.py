"""What rows were before a replay: to tell what it changes, and to bring what it wrote up to date.

A temporary table, `before_replay`, holds a row for each key, with its values as they were; `observed_at` is null where
the core table had no such row. Another, `rewritten`, holds the keys of the rows that the batch in hand wrote otherwise.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row, scalar_row, tuple_row
from psycopg.sql import SQL, Composed, Identifier

from etl.db.connection import Warehouse
from etl.db.statements import statement
from etl.declare.entity import PROVIDER_ACCOUNT, Entity, Kind
from etl.sync.store.staging import core, same_key

REMOVED = "removed_at"
"""Column of a tombstone: when the provider was seen to have removed the row."""


def begin(warehouse: Warehouse, entity: Entity) -> None:
    """Forget what was remembered; until the transaction ends, rows of this entity are."""
    warehouse.execute(statement("sync/staging", "buffer_in_memory"))
    warehouse.execute(statement("sync/before_image", "forget"))
    warehouse.execute(
        SQL("create temp table before_replay on commit drop as select {columns} from {core} with no data").format(
            columns=_list(entity), core=core(entity)
        )
    )
    warehouse.execute(
        SQL("create temp table rewritten on commit drop as select {key} from {core} with no data").format(
            key=SQL(", ").join(map(Identifier, entity.key)), core=core(entity)
        )
    )


def remember(warehouse: Warehouse, entity: Entity) -> None:
    """Remember the rows that `incoming` is about, as they are now; what is remembered already stays as it was."""
    warehouse.execute(_remember(entity))


def remember_ended(warehouse: Warehouse, entity: Entity, keys: Collection[tuple[Any, ...]]) -> None:
    """Remember rows that ended since, though `incoming` is not about them, as they were when they had not."""
    rest = (*changeable(entity), "observed_at")
    was = SQL(", ").join(SQL("null") if name == REMOVED else Identifier("c", name) for name in rest)
    query = SQL(
        "insert into before_replay ({columns}) select {key}, {was} from {core} as c where ({key}) = ({values}) "
        "and not exists (select 1 from before_replay as b where {same})"
    ).format(
        columns=_list(entity),
        key=columns("c", entity.key),
        was=was,
        core=core(entity),
        values=SQL(", ").join(SQL("%s") for _ in entity.key),
        same=same_key(entity, "b", "c"),
    )
    with warehouse.cursor() as cursor:
        cursor.executemany(query, keys)


def find_rewritten(warehouse: Warehouse, entity: Entity, *, raw_id: int) -> bool:
    """Keep the keys of the rows that a batch wrote otherwise than they were; return whether there are any."""
    shown = changeable(entity)
    query = SQL(
        "insert into rewritten select {key} from before_replay as b inner join {core} as c on {same} "
        "where c.raw_id = %(raw_id)s and (b.observed_at is null or ({b}) is distinct from ({c}))"
    ).format(
        key=columns("c", entity.key),
        core=core(entity),
        same=same_key(entity, "b", "c"),
        b=columns("b", shown),
        c=columns("c", shown),
    )
    warehouse.execute(statement("sync/before_image", "forget_rewritten"))
    return warehouse.execute(query, {"raw_id": raw_id}).rowcount > 0


def accounts_rewritten(warehouse: Warehouse, entity: Entity) -> set[int] | None:
    """Return the provider accounts of the rows in `rewritten`; None if rows of this entity belong to none."""
    if PROVIDER_ACCOUNT not in entity.key:
        return None
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute(statement("sync/before_image", "accounts_rewritten")))


def keep_rewritten(warehouse: Warehouse, entity: Entity) -> None:
    """Leave only what `incoming` says of the rows in `rewritten`."""
    warehouse.execute(
        SQL("delete from incoming as i where not exists (select 1 from rewritten as b where {same})").format(
            same=same_key(entity, "b", "i")
        )
    )


def can_be_removed(entity: Entity) -> bool:
    """Return whether its table keeps tombstones."""
    return any(removals for _, removals in entity.sources.values())


def changeable(entity: Entity) -> tuple[str, ...]:
    """Return the columns in which a row may change."""
    declared = tuple(column.name for column in entity.columns if column.name not in entity.key)
    return (*declared, REMOVED) if can_be_removed(entity) else declared


def columns(alias: str, names: tuple[str, ...]) -> Composed:
    """Return columns of a table, as a list."""
    return SQL(", ").join(Identifier(alias, name) for name in names)


def _remember(entity: Entity) -> Composed:
    rest = (*changeable(entity), "observed_at")
    return SQL(
        "insert into before_replay ({columns}) select {key}, {rest} "
        "from incoming as i left join {core} as c on {core_same} "
        "where not exists (select 1 from before_replay as b where {same})"
    ).format(
        columns=_list(entity),
        key=columns("i", entity.key),
        rest=columns("c", rest),
        core=core(entity),
        core_same=same_key(entity, "i", "c"),
        same=same_key(entity, "b", "i"),
    )


def _list(entity: Entity) -> Composed:
    return SQL(", ").join(map(Identifier, (*entity.key, *changeable(entity), "observed_at")))


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
