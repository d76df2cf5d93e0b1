"""Before images: the rows of the core table as they were before a replay.

They show what the replay changes, and which of its rows later batches must bring up to date. Two temporary tables exist
until the transaction ends. `before_image` has a row for each captured key with its values at that time; `observed_at`
is null where the core table had no such row. `changed_keys` has the keys of the rows that the current batch changed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Composed, Identifier

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.db.tables.layout import CLOSING_COLUMN, TOMBSTONE_COLUMN, core_table, end_column, same_key_condition
from etl.declare.entity import PROVIDER_ACCOUNT, ColumnType, Entity

_SQL = StatementFile("sync/before_image")
_STAGING_SQL = StatementFile("sync/staging")


@dataclass(frozen=True)
class RowChange:
    """A row that a replay changed.

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

    @property
    def is_end(self) -> bool:
        """Whether the row was live, and ended."""
        names = (TOMBSTONE_COLUMN, CLOSING_COLUMN)
        return self.before is not None and any(
            self.before.get(name) is None and self.after.get(name) is not None for name in names
        )


@dataclass(frozen=True)
class MoneyTotal:
    """Sums of a money column over the captured rows in one currency, without those that ended.

    Parameters
    ----------
    column
        The column that is summed.
    currency
        Its currency; empty where the rows have none.
    before, after
        The sums before the replay and now.
    """

    column: str
    currency: str
    before: Decimal
    after: Decimal


def create(db: Connection, entity: Entity) -> None:
    """Create both tables, empty, for the current transaction, in place of those that it had."""
    _STAGING_SQL["raise_temp_buffers"].run(db)
    _SQL["drop_tables"].run(db)
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
    """Save the current values of the rows in `incoming`, except those that were captured before."""
    db.execute(_capture_query(entity))


def capture_closed(db: Connection, entity: Entity, keys: Collection[tuple[Any, ...]]) -> None:
    """Save the values that closed rows had before, except those that were captured before.

    These rows are not in `incoming`, and the merge has closed them already: their current values are saved without the
    end.
    """
    value_columns = (*mutable_columns(entity), "observed_at")
    values_before_closing = SQL(", ").join(
        SQL("null") if name == end_column(entity) else Identifier("c", name) for name in value_columns
    )
    query = SQL(
        "insert into before_image ({columns}) select {key}, {values} from {core} as c where ({key}) = ({key_values}) "
        "and not exists (select 1 from before_image as b where {same})"
    ).format(
        columns=_captured_columns(entity),
        key=qualified_columns("c", entity.key),
        values=values_before_closing,
        core=core_table(entity),
        key_values=SQL(", ").join(SQL("%s") for _ in entity.key),
        same=same_key_condition(entity, "b", "c"),
    )
    with db.cursor() as cursor:
        cursor.executemany(query, keys)


def collect_changed_keys(db: Connection, entity: Entity, *, raw_id: int) -> bool:
    """Fill `changed_keys` with the keys of captured rows that batch `raw_id` changed; return whether any changed."""
    names = mutable_columns(entity)
    query = SQL(
        "insert into changed_keys select {key} from before_image as b {rows} "
        "where c.raw_id = %(raw_id)s and (b.observed_at is null or ({before}) is distinct from ({after}))"
    ).format(
        key=qualified_columns("c", entity.key),
        rows=_rows_of_captured(entity),
        before=qualified_columns("b", names),
        after=qualified_columns("c", names),
    )
    _SQL["clear_changed_keys"].run(db)
    return db.execute(query, {"raw_id": raw_id}).rowcount > 0


def set_changed_keys(db: Connection, entity: Entity, keys: Collection[tuple[Any, ...]]) -> None:
    """Fill `changed_keys` with given keys, each in the order of the entity's key."""
    _SQL["clear_changed_keys"].run(db)
    query = SQL("insert into changed_keys ({key}) values ({values})").format(
        key=SQL(", ").join(map(Identifier, entity.key)),
        values=SQL(", ").join(SQL("%s") for _ in entity.key),
    )
    with db.cursor() as cursor:
        cursor.executemany(query, keys)


def changed_accounts(db: Connection, entity: Entity) -> set[int] | None:
    """Return the provider accounts of the rows in `changed_keys`; None if the entity's key has no provider account."""
    if PROVIDER_ACCOUNT not in entity.key:
        return None
    return set(_SQL["changed_accounts"].scalars(db))


def keep_changed_keys(db: Connection, entity: Entity) -> None:
    """Delete all records from `incoming` whose key is not in `changed_keys`, and that replace no such row."""
    db.execute(
        SQL(
            "delete from incoming as i where not exists (select 1 from changed_keys as k where {same}) "
            "and not exists (select 1 from changed_keys as k where {replaced})"
        ).format(same=same_key_condition(entity, "k", "i"), replaced=_replaced_key_condition(entity))
    )


def changed_rows(db: Connection, entity: Entity, *, limit: int) -> tuple[list[RowChange], int]:
    """Return the first captured rows that changed, in the order of their keys, and the number of all that changed.

    Parameters
    ----------
    limit
        Most rows to return.
    """
    names = mutable_columns(entity)
    query = SQL(
        "select b.observed_at is not null as existed, count(*) over () as changes, "
        "{key}, {aliased_before}, {after} "
        "from before_image as b {rows} "
        "where b.observed_at is null or ({before}) is distinct from ({after}) order by {key} limit %(limit)s"
    ).format(
        key=qualified_columns("c", entity.key),
        aliased_before=SQL(", ").join(
            SQL("{} as {}").format(Identifier("b", name), Identifier(f"before {name}")) for name in names
        ),
        rows=_rows_of_captured(entity),
        before=qualified_columns("b", names),
        after=qualified_columns("c", names),
    )
    with db.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, {"limit": limit}).fetchall()
    changes = [
        RowChange(
            key={name: row[name] for name in entity.key},
            before={name: row[f"before {name}"] for name in names} if row["existed"] else None,
            after={name: row[name] for name in names},
        )
        for row in rows
    ]
    return changes, rows[0]["changes"] if rows else 0


def money_totals(db: Connection, entity: Entity) -> list[MoneyTotal]:
    """Return the money in the captured rows before the replay and now, by column and currency."""
    totals: list[MoneyTotal] = []
    for column in entity.stored_columns:
        if column.kind is ColumnType.MONEY:
            with db.cursor(row_factory=tuple_row) as cursor:
                rows = cursor.execute(_totals_query(entity, column.name)).fetchall()
            totals.extend(MoneyTotal(column.name, *row) for row in rows)
    return totals


def mutable_columns(entity: Entity) -> tuple[str, ...]:
    """Return the names of the columns in which a row may change."""
    declared = tuple(column.name for column in entity.stored_columns if column.name not in entity.key)
    ends = end_column(entity)
    return (*declared, ends) if ends else declared


def qualified_columns(alias: str, names: tuple[str, ...]) -> Composed:
    """Return columns of a table as an SQL list, each qualified by the table's alias."""
    return SQL(", ").join(Identifier(alias, name) for name in names)


def _row_of(entity: Entity, alias: str) -> Composed:
    """Return a query for the row with the key of another table's row; it looks it up, whatever the planner believes."""
    same = same_key_condition(entity, "k", alias)
    return SQL("select k.* from {core} as k where {same} offset 0").format(core=core_table(entity), same=same)


def _rows_of_captured(entity: Entity) -> Composed:
    return SQL("cross join lateral ({row}) as c").format(row=_row_of(entity, "b"))


def _capture_query(entity: Entity) -> Composed:
    return SQL(
        "insert into before_image ({columns}) select {key}, {values} "
        "from incoming as i left join lateral ({row}) as c on true "
        "where not exists (select 1 from before_image as b where {same})"
    ).format(
        columns=_captured_columns(entity),
        key=qualified_columns("i", entity.key),
        values=qualified_columns("c", (*mutable_columns(entity), "observed_at")),
        row=_row_of(entity, "i"),
        same=same_key_condition(entity, "b", "i"),
    )


def _replaced_key_condition(entity: Entity) -> Composed | SQL:
    """Return the SQL condition that a record of `incoming` replaces the row of a changed key."""
    if entity.replaces is None:
        return SQL("false")
    (own_key,) = entity.key_columns
    same_login = SQL("k.{0} = i.{0}").format(Identifier(PROVIDER_ACCOUNT))
    same_row = SQL("{} = {}").format(Identifier("k", own_key.name), Identifier("i", entity.replaces))
    return SQL(" and ").join([same_login, same_row] if PROVIDER_ACCOUNT in entity.key else [same_row])


def _captured_columns(entity: Entity) -> Composed:
    return SQL(", ").join(map(Identifier, (*entity.key, *mutable_columns(entity), "observed_at")))


def _totals_query(entity: Entity, column: str) -> Composed:
    return SQL(
        "select s.currency, coalesce(sum(s.before), 0), coalesce(sum(s.after), 0) from ("
        "select coalesce({currency_before}, '') as currency, {before} as before, 0 as after from before_image as b "
        "where {before} is not null and {live_before} "
        "union all "
        "select coalesce({currency}, ''), 0, {after} from before_image as b {rows} "
        "where {after} is not null and {live}) as s group by s.currency order by s.currency"
    ).format(
        currency_before=qualified_columns("b", entity.currencies),
        before=Identifier("b", column),
        live_before=_is_live(entity, "b"),
        currency=qualified_columns("c", entity.currencies),
        after=Identifier("c", column),
        rows=_rows_of_captured(entity),
        live=_is_live(entity, "c"),
    )


def _is_live(entity: Entity, alias: str) -> SQL | Composed:
    ends = end_column(entity)
    return SQL("{} is null").format(Identifier(alias, ends)) if ends else SQL("true")
