"""What rows were before a replay: to tell what it changes, and to bring what it wrote up to date.

A temporary table, `before_replay`, holds a row for each key, with its values as they were; `observed_at` is null where
the core table had no such row. Another, `rewritten`, holds the keys of the rows that the batch in hand wrote otherwise.
"""

from collections.abc import Collection
from typing import Any

from psycopg.rows import scalar_row
from psycopg.sql import SQL, Composed, Identifier

from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.stores.incoming import core, same_key
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

REMOVED = "removed_at"
"""Column of a tombstone: when the provider was seen to have removed the row."""


def begin(warehouse: Warehouse, entity: Entity) -> None:
    """Forget what was remembered; until the transaction ends, rows of this entity are."""
    warehouse.execute(statement("stores/incoming", "buffer_in_memory"))
    warehouse.execute(statement("stores/before", "forget"))
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
    warehouse.execute(statement("stores/before", "forget_rewritten"))
    return warehouse.execute(query, {"raw_id": raw_id}).rowcount > 0


def accounts_rewritten(warehouse: Warehouse, entity: Entity) -> set[int] | None:
    """Return the provider accounts of the rows in `rewritten`; None if rows of this entity belong to none."""
    if PROVIDER_ACCOUNT not in entity.key:
        return None
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute(statement("stores/before", "accounts_rewritten")))


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
