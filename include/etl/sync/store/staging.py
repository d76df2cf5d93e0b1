"""The typed batch in hand, as a temporary table beside the core table that it is merged into."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg.sql import SQL, Composed, Identifier

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.sync.records.rows import schema
from etl.sync.store.typed_batches import CURSOR_MOVE_SCHEMA

_COUNT_EXISTING_ROWS = SQL("""
-- Counted no further than it matters.
select count(*)
from (
    select
    from {core} as c
    where c.{account} = any(array(select m.{account} from incoming_cursors as m))
    limit %(most)s + 1
) as existing
""")
_DROP_SUPERSEDED_SQL = SQL("""
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


def fill_rows(db: Connection, entity: Entity, rows: Iterable[pa.RecordBatch]) -> int:
    """Create `incoming` for this transaction, in place of one that it had, and return how many rows it has.

    Its columns are `seq`, `provider_account_id`, `removed`, `observed_at` and the declared ones.
    """
    for name in ("raise_temp_buffers", "drop_table", "raise_work_mem"):
        db.execute(statement("sync/staging", name))
    db.execute(_create_query(entity))
    count = _copy(db, SQL("copy incoming from stdin (format binary, freeze)"), rows, schema(entity))
    db.execute(statement("sync/staging", "lower_statistics_target"))
    db.execute(SQL("analyze incoming ({})").format(_analyzed_columns(entity)))
    db.execute(statement("sync/staging", "reset_statistics_target"))
    return count


def fill_cursor_moves(db: Connection, moves: Iterable[pa.RecordBatch]) -> None:
    """Create `incoming_cursors` for this transaction, in place of one that it had, and fill it."""
    db.execute(statement("sync/cursors", "drop_table"))
    db.execute(statement("sync/cursors", "create_table"))
    _copy(db, statement("sync/cursors", "copy_cursor_moves"), moves, CURSOR_MOVE_SCHEMA)


@contextmanager
def prefer_index_lookup(db: Connection) -> Iterator[None]:
    """Let statements find rows of the core table by an index, however few it has as yet."""
    db.execute(statement("sync/staging", "prefer_index_lookup"))
    yield
    db.execute(statement("sync/staging", "reset_index_lookup"))


@contextmanager
def prefer_hash_join(db: Connection) -> Iterator[None]:
    """Let statements join `incoming` with all that they read of the core table, and not with row after row."""
    db.execute(statement("sync/staging", "prefer_hash_join"))
    yield
    db.execute(statement("sync/staging", "reset_hash_join"))


def has_few_existing_rows(db: Connection, entity: Entity, *, limit: int) -> bool:
    """Tell whether the accounts of `incoming_cursors` have at most so many rows in the core table."""
    query = _COUNT_EXISTING_ROWS.format(core=core_table(entity), account=Identifier(PROVIDER_ACCOUNT))
    ((held,),) = db.execute(query, {"most": limit}).fetchall()
    return bool(held <= limit)


def drop_superseded(db: Connection, entity: Entity) -> int:
    """Leave only the last record of each key, and return how many others there were."""
    return db.execute(_drop_superseded_query(entity)).rowcount


def drop_older_than_feed(db: Connection, *, feed: str) -> int:
    """Drop a window's records of accounts of which the feed has told something since, and return how many those were.

    A row that a feed does not mention is as it was: what a window of an earlier moment says of it is older than that,
    however long ago the row itself was written.
    """
    return db.execute(statement("sync/staging", "drop_older_than_feed"), {"feed": feed}).rowcount


def drop_older_than_snapshot(db: Connection, entity: Entity, *, raw_id: int) -> int:
    """Drop a snapshot's records of accounts of which a later one was loaded, and return how many those were."""
    values = {"entity": entity.name, "raw_id": raw_id}
    return db.execute(statement("sync/staging", "drop_older_than_snapshot"), values).rowcount


def drop_older_than_feed_on_replay(db: Connection, entity: Entity, *, feed: str, raw_id: int) -> int:
    """Drop what `drop_older_than_feed` would, but for rows that the window itself once wrote, or that are missing."""
    query = SQL(
        "delete from incoming as i using {core} as c, etl.cursors as k where {same} and c.raw_id <> %(raw_id)s "
        "and k.provider_account_id = i.provider_account_id and k.feed = %(feed)s and k.told_at > i.observed_at"
    ).format(core=core_table(entity), same=same_key_condition(entity, "i", "c"))
    return db.execute(query, {"feed": feed, "raw_id": raw_id}).rowcount


def drop_overwritten(db: Connection, entity: Entity, *, raw_id: int) -> int:
    """Drop records of rows that a later batch wrote at the very same instant, and return how many those were."""
    query = SQL(
        "delete from incoming as i using {core} as c "
        "where {same} and c.observed_at = i.observed_at and c.raw_id > %(raw_id)s"
    ).format(core=core_table(entity), same=same_key_condition(entity, "i", "c"))
    return db.execute(query, {"raw_id": raw_id}).rowcount


def core_table(entity: Entity) -> Identifier:
    """Return the name of an entity's core table."""
    return Identifier("core", entity.name)


def same_key_condition(entity: Entity, one: str, other: str) -> Composed:
    """Return the condition that rows of two tables have one key."""
    return SQL(" and ").join(
        SQL("{} = {}").format(Identifier(one, name), Identifier(other, name)) for name in entity.key
    )


def _drop_superseded_query(entity: Entity) -> Composed:
    key, repeated_key = (SQL(", ").join(Identifier(table, name) for name in entity.key) for table in ("i", "r"))
    return _DROP_SUPERSEDED_SQL.format(key=key, repeated_key=repeated_key)


def _create_query(entity: Entity) -> Composed:
    declared = SQL(", ").join(
        SQL("{} {}").format(Identifier(column.name), SQL(column.kind.value)) for column in entity.columns
    )
    return SQL(
        "create temp table incoming "
        "(seq bigint, {account} bigint, removed boolean, observed_at timestamptz, {declared}) on commit drop"
    ).format(account=Identifier(PROVIDER_ACCOUNT), declared=declared)


def _analyzed_columns(entity: Entity) -> Composed:
    """Return the columns by which statements find rows: statistics are logged even where a table's rows are not."""
    columns = dict.fromkeys((PROVIDER_ACCOUNT, "removed", *entity.key))
    return SQL(", ").join(map(Identifier, columns))


def _copy(db: Connection, query: SQL, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Copy batches in Postgres' binary format, which it reads twice as fast as text."""
    rows = 0
    encoder = ArrowToPostgresBinaryEncoder(schema)
    with db.cursor() as cursor, cursor.copy(query) as copy:
        copy.write(encoder.write_header())
        for batch in batches:
            copy.write(encoder.write_batch(batch))
            rows += batch.num_rows
        copy.write(encoder.finish())
    return rows
