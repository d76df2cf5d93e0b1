"""What rows were before a replay: to tell what it changes, and to see which rows it found missing.

A temporary table, `before_replay`, holds a row for each key, with its values as they were; `observed_at` is null where
the core table had no such row.
"""

from psycopg.rows import scalar_row
from psycopg.sql import SQL, Composed, Identifier

from etl.declare.entity import Entity
from etl.stores.incoming import core, same_key
from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

REMOVED = "removed_at"
"""Column of a tombstone: when the provider was seen to have removed the row."""


def begin(warehouse: Warehouse, entity: Entity) -> None:
    """Forget what was remembered; until the transaction ends, rows of this entity are."""
    warehouse.execute(statement("stores/before", "forget"))
    warehouse.execute(
        SQL("create temp table before_replay on commit drop as select {columns} from {core} with no data").format(
            columns=_list(entity), core=core(entity)
        )
    )


def remember(warehouse: Warehouse, entity: Entity) -> None:
    """Remember the rows that `incoming` is about, as they are now; what is remembered already stays as it was."""
    warehouse.execute(_remember(entity))


def remember_missing(warehouse: Warehouse, entity: Entity) -> None:
    """Remember which rows that `incoming` is about do not exist."""
    warehouse.execute(SQL("{} and c.observed_at is null").format(_remember(entity)))


def brought_back(warehouse: Warehouse, entity: Entity) -> bool:
    """Return whether any row that was missing exists now."""
    query = SQL(
        "select exists (select 1 from before_replay as b inner join {core} as c on {same} where b.observed_at is null)"
    ).format(core=core(entity), same=same_key(entity, "b", "c"))
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        (found,) = cursor.execute(query).fetchall()
    return bool(found)


def keep_missing(warehouse: Warehouse, entity: Entity) -> None:
    """Leave only the rows in `incoming` that were missing."""
    warehouse.execute(
        SQL(
            "delete from incoming as i where not exists "
            "(select 1 from before_replay as b where {same} and b.observed_at is null)"
        ).format(same=same_key(entity, "b", "i"))
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
