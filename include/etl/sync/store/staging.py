"""The typed batch in hand, as a temporary table beside the core table that it is merged into."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg.sql import SQL, Composed, Identifier

from etl.db.connection import Warehouse
from etl.db.statements import statement
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.sync.records.rows import schema
from etl.sync.store.typed_batches import MOVES

_HELD = SQL("""
-- Counted no further than it matters.
select count(*)
from (
    select
    from {core} as c
    where c.{account} = any(array(select m.{account} from incoming_cursors as m))
    limit %(most)s + 1
) as held
""")
_DROP_SUPERSEDED = SQL("""
-- Grouped and joined, each once: `not in (select max(seq) …)` compares every row with every other as soon as a batch's
-- keys do not fit into work_mem.
with repeated as (
    select {key}, max(i.seq) as seq
    from incoming as i
    group by {key}
    having count(*) > 1
)
delete from incoming as i
using repeated as r
where ({key}) = ({repeated_key}) and i.seq < r.seq
""")


def fill(warehouse: Warehouse, entity: Entity, rows: Iterable[pa.RecordBatch]) -> int:
    """Create `incoming` for this transaction, in place of one that it had, and return how many rows it has.

    Its columns are `seq`, `provider_account_id`, `removed`, `observed_at` and the declared ones.
    """
    for name in ("buffer_in_memory", "forget", "keep_in_memory"):
        warehouse.execute(statement("sync/staging", name))
    warehouse.execute(_create(entity))
    count = _copy(warehouse, SQL("copy incoming from stdin (format binary, freeze)"), rows, schema(entity))
    warehouse.execute(statement("sync/staging", "sample_little"))
    warehouse.execute(SQL("analyze incoming ({})").format(_compared(entity)))
    warehouse.execute(statement("sync/staging", "sample_as_usual"))
    return count


def fill_moves(warehouse: Warehouse, moves: Iterable[pa.RecordBatch]) -> None:
    """Create `incoming_cursors` for this transaction, in place of one that it had, and fill it."""
    warehouse.execute(statement("sync/cursors", "forget"))
    warehouse.execute(statement("sync/cursors", "moves"))
    _copy(warehouse, statement("sync/cursors", "copy_moves"), moves, MOVES)


@contextmanager
def looked_up(warehouse: Warehouse) -> Iterator[None]:
    """Let statements find rows of the core table by an index, however few it has as yet."""
    warehouse.execute(statement("sync/staging", "look_up"))
    yield
    warehouse.execute(statement("sync/staging", "look_up_no_more"))


@contextmanager
def read_at_once(warehouse: Warehouse) -> Iterator[None]:
    """Let statements join `incoming` with all that they read of the core table, and not with row after row."""
    warehouse.execute(statement("sync/staging", "read_at_once"))
    yield
    warehouse.execute(statement("sync/staging", "read_at_once_no_more"))


def few_held(warehouse: Warehouse, entity: Entity, *, most: int) -> bool:
    """Tell whether the accounts of `incoming_cursors` have at most so many rows in the core table."""
    query = _HELD.format(core=core(entity), account=Identifier(PROVIDER_ACCOUNT))
    ((held,),) = warehouse.execute(query, {"most": most}).fetchall()
    return bool(held <= most)


def drop_superseded(warehouse: Warehouse, entity: Entity) -> int:
    """Leave only the last record of each key, and return how many others there were."""
    return warehouse.execute(_drop_superseded(entity)).rowcount


def drop_told_since(warehouse: Warehouse, *, feed: str) -> int:
    """Drop a window's records of accounts of which the feed has told something since, and return how many those were.

    A row that a feed does not mention is as it was: what a window of an earlier moment says of it is older than that,
    however long ago the row itself was written.
    """
    return warehouse.execute(statement("sync/staging", "drop_told_since"), {"feed": feed}).rowcount


def drop_read_since(warehouse: Warehouse, entity: Entity, *, raw_id: int) -> int:
    """Drop a snapshot's records of accounts of which a later one was loaded, and return how many those were."""
    values = {"entity": entity.name, "raw_id": raw_id}
    return warehouse.execute(statement("sync/staging", "drop_read_since"), values).rowcount


def drop_told_since_again(warehouse: Warehouse, entity: Entity, *, feed: str, raw_id: int) -> int:
    """Drop what `drop_told_since` would, but for rows that the window itself once wrote, or that are missing."""
    query = SQL(
        "delete from incoming as i using {core} as c, etl.cursors as k where {same} and c.raw_id <> %(raw_id)s "
        "and k.provider_account_id = i.provider_account_id and k.feed = %(feed)s and k.told_at > i.observed_at"
    ).format(core=core(entity), same=same_key(entity, "i", "c"))
    return warehouse.execute(query, {"feed": feed, "raw_id": raw_id}).rowcount


def drop_overtaken(warehouse: Warehouse, entity: Entity, *, raw_id: int) -> int:
    """Drop records of rows that a later batch wrote at the very same instant, and return how many those were."""
    query = SQL(
        "delete from incoming as i using {core} as c "
        "where {same} and c.observed_at = i.observed_at and c.raw_id > %(raw_id)s"
    ).format(core=core(entity), same=same_key(entity, "i", "c"))
    return warehouse.execute(query, {"raw_id": raw_id}).rowcount


def core(entity: Entity) -> Identifier:
    """Return the name of an entity's core table."""
    return Identifier("core", entity.name)


def same_key(entity: Entity, one: str, other: str) -> Composed:
    """Return the condition that rows of two tables have one key."""
    return SQL(" and ").join(
        SQL("{} = {}").format(Identifier(one, name), Identifier(other, name)) for name in entity.key
    )


def _drop_superseded(entity: Entity) -> Composed:
    key, repeated_key = (SQL(", ").join(Identifier(table, name) for name in entity.key) for table in ("i", "r"))
    return _DROP_SUPERSEDED.format(key=key, repeated_key=repeated_key)


def _create(entity: Entity) -> Composed:
    declared = SQL(", ").join(
        SQL("{} {}").format(Identifier(column.name), SQL(column.kind.value)) for column in entity.columns
    )
    return SQL(
        "create temp table incoming "
        "(seq bigint, {account} bigint, removed boolean, observed_at timestamptz, {declared}) on commit drop"
    ).format(account=Identifier(PROVIDER_ACCOUNT), declared=declared)


def _compared(entity: Entity) -> Composed:
    """Return the columns by which statements find rows: statistics are logged even where a table's rows are not."""
    columns = dict.fromkeys((PROVIDER_ACCOUNT, "removed", *entity.key))
    return SQL(", ").join(map(Identifier, columns))


def _copy(warehouse: Warehouse, query: SQL, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Copy batches in Postgres' binary format, which it reads twice as fast as text."""
    rows = 0
    encoder = ArrowToPostgresBinaryEncoder(schema)
    with warehouse.cursor() as cursor, cursor.copy(query) as copy:
        copy.write(encoder.write_header())
        for batch in batches:
            copy.write(encoder.write_batch(batch))
            rows += batch.num_rows
        copy.write(encoder.finish())
    return rows
