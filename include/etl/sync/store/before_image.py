"""What rows were before a replay: to tell what it changes, and to bring what it wrote up to date.

A temporary table, `before_image`, holds a row for each key, with its values as they were; `observed_at` is null where
the core table had no such row. Another, `changed_keys`, holds the keys of the rows that the current batch changed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row, scalar_row, tuple_row
from psycopg.sql import SQL, Composed, Identifier

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.entity import PROVIDER_ACCOUNT, ColumnType, Entity
from etl.sync.store.staging import core_table, same_key_condition

TOMBSTONE_COLUMN = "removed_at"
"""Column of a tombstone: when the provider was seen to have removed the row."""


def create(db: Connection, entity: Entity) -> None:
    """Forget what was remembered; until the transaction ends, rows of this entity are."""
    db.execute(statement("sync/staging", "raise_temp_buffers"))
    db.execute(statement("sync/before_image", "drop_tables"))
    db.execute(
        SQL("create temp table before_image on commit drop as select {columns} from {core} with no data").format(
            columns=_captured_columns(entity), core=core_table(entity)
        )
    )
    db.execute(
        SQL("create temp table changed_keys on commit drop as select {key} from {core} with no data").format(
            key=SQL(", ").join(map(Identifier, entity.key)), core=core_table(entity)
        )
    )


def capture(db: Connection, entity: Entity) -> None:
    """Remember the rows that `incoming` is about, as they are now; what is remembered already stays as it was."""
    db.execute(_capture_query(entity))


def capture_closed(db: Connection, entity: Entity, keys: Collection[tuple[Any, ...]]) -> None:
    """Remember rows that ended since, though `incoming` is not about them, as they were when they had not."""
    rest = (*mutable_columns(entity), "observed_at")
    was = SQL(", ").join(SQL("null") if name == TOMBSTONE_COLUMN else Identifier("c", name) for name in rest)
    query = SQL(
        "insert into before_image ({columns}) select {key}, {was} from {core} as c where ({key}) = ({values}) "
        "and not exists (select 1 from before_image as b where {same})"
    ).format(
        columns=_captured_columns(entity),
        key=qualified_columns("c", entity.key),
        was=was,
        core=core_table(entity),
        values=SQL(", ").join(SQL("%s") for _ in entity.key),
        same=same_key_condition(entity, "b", "c"),
    )
    with db.cursor() as cursor:
        cursor.executemany(query, keys)


def collect_changed_keys(db: Connection, entity: Entity, *, raw_id: int) -> bool:
    """Keep the keys of the rows that a batch wrote otherwise than they were; return whether there are any."""
    shown = mutable_columns(entity)
    query = SQL(
        "insert into changed_keys select {key} from before_image as b inner join {core} as c on {same} "
        "where c.raw_id = %(raw_id)s and (b.observed_at is null or ({b}) is distinct from ({c}))"
    ).format(
        key=qualified_columns("c", entity.key),
        core=core_table(entity),
        same=same_key_condition(entity, "b", "c"),
        b=qualified_columns("b", shown),
        c=qualified_columns("c", shown),
    )
    db.execute(statement("sync/before_image", "clear_changed_keys"))
    return db.execute(query, {"raw_id": raw_id}).rowcount > 0


def changed_accounts(db: Connection, entity: Entity) -> set[int] | None:
    """Return the provider accounts of the rows in `changed_keys`; None if rows of this entity belong to none."""
    if PROVIDER_ACCOUNT not in entity.key:
        return None
    with db.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute(statement("sync/before_image", "changed_accounts")))


def keep_changed_keys(db: Connection, entity: Entity) -> None:
    """Leave only what `incoming` says of the rows in `changed_keys`."""
    db.execute(
        SQL("delete from incoming as i where not exists (select 1 from changed_keys as b where {same})").format(
            same=same_key_condition(entity, "b", "i")
        )
    )


def has_tombstones(entity: Entity) -> bool:
    """Return whether its table keeps tombstones."""
    return any(removals for _, removals in entity.sources.values())


def mutable_columns(entity: Entity) -> tuple[str, ...]:
    """Return the columns in which a row may change."""
    declared = tuple(column.name for column in entity.columns if column.name not in entity.key)
    return (*declared, TOMBSTONE_COLUMN) if has_tombstones(entity) else declared


def qualified_columns(alias: str, names: tuple[str, ...]) -> Composed:
    """Return columns of a table, as a list."""
    return SQL(", ").join(Identifier(alias, name) for name in names)


def _capture_query(entity: Entity) -> Composed:
    rest = (*mutable_columns(entity), "observed_at")
    return SQL(
        "insert into before_image ({columns}) select {key}, {rest} "
        "from incoming as i left join {core} as c on {core_same} "
        "where not exists (select 1 from before_image as b where {same})"
    ).format(
        columns=_captured_columns(entity),
        key=qualified_columns("i", entity.key),
        rest=qualified_columns("c", rest),
        core=core_table(entity),
        core_same=same_key_condition(entity, "i", "c"),
        same=same_key_condition(entity, "b", "i"),
    )


def _captured_columns(entity: Entity) -> Composed:
    return SQL(", ").join(map(Identifier, (*entity.key, *mutable_columns(entity), "observed_at")))


@dataclass(frozen=True)
class RowChange:
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
class MoneyTotal:
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


def changed_rows(db: Connection, entity: Entity, *, limit: int) -> tuple[list[RowChange], int]:
    """Return the rows that are not what they were, in the order of their keys, and how many there are.

    Parameters
    ----------
    limit
        Most rows to return.
    """
    shown = mutable_columns(entity)
    query = SQL(
        "select b.observed_at is not null as existed, count(*) over () as changes, {key}, {before}, {after} "
        "from before_image as b inner join {core} as c on {same} "
        "where b.observed_at is null or ({b}) is distinct from ({c}) order by {key} limit %(limit)s"
    ).format(
        key=qualified_columns("c", entity.key),
        before=SQL(", ").join(
            SQL("{} as {}").format(Identifier("b", name), Identifier(f"before {name}")) for name in shown
        ),
        after=qualified_columns("c", shown),
        core=core_table(entity),
        same=same_key_condition(entity, "b", "c"),
        b=qualified_columns("b", shown),
        c=qualified_columns("c", shown),
    )
    with db.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, {"limit": limit}).fetchall()
    changed = [
        RowChange(
            key={name: row[name] for name in entity.key},
            before={name: row[f"before {name}"] for name in shown} if row["existed"] else None,
            after={name: row[name] for name in shown},
        )
        for row in found
    ]
    return changed, found[0]["changes"] if found else 0


def money_totals(db: Connection, entity: Entity) -> list[MoneyTotal]:
    """Return the money in the rows in question before and now, by column and currency."""
    found: list[MoneyTotal] = []
    for column in entity.columns:
        if column.kind is ColumnType.MONEY:
            with db.cursor(row_factory=tuple_row) as cursor:
                sums = cursor.execute(_totals_query(entity, column.name)).fetchall()
            found.extend(MoneyTotal(column.name, *row) for row in sums)
    return found


def _totals_query(entity: Entity, column: str) -> Composed:
    return SQL(
        "select s.currency, coalesce(sum(s.before), 0), coalesce(sum(s.after), 0) from ("
        "select coalesce({currency_before}, '') as currency, {before} as before, 0 as after from before_image as b "
        "where {before} is not null and {live_before} "
        "union all "
        "select coalesce({currency}, ''), 0, {after} from before_image as b inner join {core} as c on {same} "
        "where {after} is not null and {live}) as s group by s.currency order by s.currency"
    ).format(
        currency_before=qualified_columns("b", entity.currencies),
        before=Identifier("b", column),
        live_before=_is_live(entity, "b"),
        currency=qualified_columns("c", entity.currencies),
        after=Identifier("c", column),
        core=core_table(entity),
        same=same_key_condition(entity, "b", "c"),
        live=_is_live(entity, "c"),
    )


def _is_live(entity: Entity, alias: str) -> SQL | Composed:
    return SQL("{} is null").format(Identifier(alias, TOMBSTONE_COLUMN)) if has_tombstones(entity) else SQL("true")
