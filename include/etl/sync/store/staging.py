"""Staging tables: a typed batch, in temporary tables, while it is merged into its core table."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg.sql import SQL, Composed, Identifier

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.db.tables.layout import core_table, create_staging_table, declared_names, same_key_condition
from etl.declare.entity import PROVIDER_ACCOUNT, ColumnType, Entity
from etl.sync.records.rows import schema

log = logging.getLogger(__name__)

_SQL = StatementFile("sync/staging")
_CURSORS_SQL = StatementFile("sync/cursors")
_COUNT_EXISTING_ROWS = SQL("""
-- Stops counting one row above the limit.
select count(*)
from (
    select
    from {core} as c
    where c.{account} = any(array(select m.{account} from incoming_cursors as m))
    limit %(limit)s + 1
) as existing
""")
_DROP_SUPERSEDED_SQL = SQL("""
-- One aggregation and one join: `not in (select max(seq) …)` would compare every row with every other as soon as the
-- keys of a batch exceed work_mem. A window function would take four times as long.
with repeated as (
    select {key}, max({age}) as newest
    from incoming as i
    group by {key}
    having count(*) > 1
)
delete from incoming as i
using repeated as r
where ({key}) = ({repeated_key}) and {age} < r.newest
""")
_DROP_OLDER_THAN_SNAPSHOTS = SQL("""
-- A snapshot is complete: where a later one of the same login was loaded, the earlier one is outdated. What was
-- observed before a batch was sealed counts as older than the batch: an older balance must not win, while one that is a
-- little newer comes again with the next snapshot.
delete from incoming as i
using unnest(%(logins)s::bigint[], %(sealed_at)s::timestamptz[]) as s (login, sealed_at)
where s.login = i.provider_account_id and s.sealed_at > i.observed_at {condition}
""")
_CURSOR_MOVE_COLUMNS = (
    *(PROVIDER_ACCOUNT, "cursor_from", "cursor_to", "whole", "generation", "read", "rejected", "first_on", "last_on"),
)


def fill_rows(db: Connection, entity: Entity, rows: Iterable[pa.RecordBatch]) -> int:
    """Create and fill the staging table `incoming` for this transaction, replacing an earlier one.

    Its columns are `seq`, `provider_account_id`, `removed`, `observed_at` and the declared ones.

    Returns
    -------
    int
        The number of its rows.
    """
    for name in ("raise_temp_buffers", "drop_table", "raise_work_mem"):
        _SQL[name].run(db)
    db.execute(create_staging_table(entity))
    count = copy(db, SQL("copy incoming from stdin (format binary, freeze)"), rows, schema(entity))
    _SQL["lower_statistics_target"].run(db)
    db.execute(SQL("analyze incoming ({})").format(_analyzed_columns(entity)))
    _SQL["reset_statistics_target"].run(db)
    return count


def copy_rows(db: Connection, entity: Entity, rows: Iterable[pa.RecordBatch], *, raw_id: int) -> int:
    """Copy rows, none of which the core table has, straight into it; return their number.

    Parameters
    ----------
    rows
        Their columns are those of `incoming`.
    raw_id
        The batch that they come from.
    """
    raw_column = pa.field("raw_id", pa.int64())
    columns = [*declared_names(entity), "observed_at"]
    arrow_schema = pa.schema([*(schema(entity).field(name) for name in columns), raw_column])
    query = SQL("copy {} ({}) from stdin (format binary)").format(
        core_table(entity), SQL(", ").join(map(Identifier, arrow_schema.names))
    )
    complete = (
        block.select(columns).append_column(raw_column, pa.repeat(pa.scalar(raw_id, pa.int64()), block.num_rows))
        for block in rows
    )
    return copy(db, query, complete, arrow_schema)


def fill_cursor_moves(db: Connection, moves: pa.Table) -> None:
    """Create and fill the staging table `incoming_cursors` for this transaction, replacing an earlier one.

    Parameters
    ----------
    moves
        Its columns are those of `CURSOR_MOVE_SCHEMA`.
    """
    _CURSORS_SQL["drop_table"].run(db)
    _CURSORS_SQL["create_table"].run(db)
    columns = moves.select(_CURSOR_MOVE_COLUMNS)
    copy(db, _CURSORS_SQL["copy_cursor_moves"], columns.to_batches(), columns.schema)


@contextmanager
def prefer_index_lookup(db: Connection) -> Iterator[None]:
    """Make the planner look up rows of the core table by an index, even while the table is small."""
    _SQL["prefer_index_lookup"].run(db)
    yield
    _SQL["reset_index_lookup"].run(db)


@contextmanager
def prefer_hash_join(db: Connection) -> Iterator[None]:
    """Make the planner join `incoming` with the rows of the core table at once, instead of row by row."""
    _SQL["prefer_hash_join"].run(db)
    yield
    _SQL["reset_hash_join"].run(db)


def has_few_existing_rows(db: Connection, entity: Entity, *, limit: int) -> bool:
    """Return whether the accounts of `incoming_cursors` have at most `limit` rows in the core table."""
    query = _COUNT_EXISTING_ROWS.format(core=core_table(entity), account=Identifier(PROVIDER_ACCOUNT))
    ((existing,),) = db.execute(query, {"limit": limit}).fetchall()
    return bool(existing <= limit)


def drop_superseded(db: Connection, entity: Entity) -> int:
    """Delete all records but the newest of each key, and return how many were deleted."""
    return sum(db.execute(query).rowcount for query in _drop_superseded_queries(entity))


def drop_older_than_feed(db: Connection, *, feed: str) -> int:
    """Drop a window's records of accounts whose feed brought records that were observed later; return their number.

    A row that the feed did not mention was unchanged when the feed was read. Records of an earlier window are therefore
    outdated, even if the row itself was written long before.
    """
    return _SQL["drop_older_than_feed"].run(db, {"feed": feed})


def drop_older_than_feed_on_replay(db: Connection, entity: Entity, *, feed: str, raw_id: int) -> int:
    """Drop records as `drop_older_than_feed` does, but keep those whose row is missing or written by this window."""
    query = SQL(
        "delete from incoming as i using etl.cursors as k where k.provider_account_id = i.provider_account_id "
        "and k.feed = %(feed)s and k.told_at > i.observed_at "
        "and exists (select 1 from {core} as c where {same} and c.raw_id <> %(raw_id)s offset 0)"
    ).format(core=core_table(entity), same=same_key_condition(entity, "i", "c"))
    return db.execute(query, {"feed": feed, "raw_id": raw_id}).rowcount


def later_snapshots(db: Connection, entity: Entity, logins: Collection[int], *, raw_id: int) -> dict[int, datetime]:
    """Return the logins of which a snapshot was loaded that may be later than this one → when it was sealed."""
    values = {"raw_id": raw_id, "entity": entity.name, "logins": list(logins)}
    return dict(_SQL["later_snapshots"].rows(db, values))


def drop_older_than_snapshots(
    db: Connection, entity: Entity, later: Mapping[int, datetime], *, raw_id: int, is_replay: bool
) -> int:
    """Drop a snapshot's records of logins of which a later snapshot was loaded; return their number.

    A row that a later snapshot did not change was not rewritten, so that it does not tell that it is newer.

    Parameters
    ----------
    later
        What `later_snapshots` returns.
    is_replay
        Whether to keep records whose row is missing or written by this snapshot, since a replay may restore or mend it.
    """
    if not later:
        return 0
    other_row = SQL("and exists (select 1 from {core} as k where {same} and k.raw_id <> %(raw_id)s offset 0)").format(
        core=core_table(entity), same=same_key_condition(entity, "i", "k")
    )
    query = _DROP_OLDER_THAN_SNAPSHOTS.format(condition=other_row if is_replay else SQL(""))
    logins = list(later)
    dropped = db.execute(query, {"logins": logins, "sealed_at": list(later.values()), "raw_id": raw_id}).rowcount
    outdated = _SQL["drop_logins_of_later_snapshots"].run(db, {"logins": logins, "is_replay": is_replay})
    if outdated and not is_replay:
        log.warning(
            "%s: raw batch %d is older than loaded snapshots of %d logins, and closes no row of theirs",
            entity.name,
            raw_id,
            outdated,
        )
    return dropped


def drop_overwritten(db: Connection, entity: Entity, *, raw_id: int) -> int:
    """Drop records whose row a later batch wrote with the same `observed_at`; return their number."""
    query = SQL(
        "delete from incoming as i where exists (select 1 from {core} as c "
        "where {same} and c.observed_at = i.observed_at and c.raw_id > %(raw_id)s offset 0)"
    ).format(core=core_table(entity), same=same_key_condition(entity, "i", "c"))
    return db.execute(query, {"raw_id": raw_id}).rowcount


def copy(db: Connection, query: SQL | Composed, batches: Iterable[pa.RecordBatch], arrow_schema: pa.Schema) -> int:
    """Copy batches in Postgres' binary format, which it reads twice as fast as text; return the number of rows."""
    rows = 0
    encoder = ArrowToPostgresBinaryEncoder(arrow_schema)
    with db.cursor() as cursor, cursor.copy(query) as copy:
        copy.write(encoder.write_header())
        for batch in batches:
            copy.write(encoder.write_batch(batch))
            rows += batch.num_rows
        copy.write(encoder.finish())
    return rows


def _drop_superseded_queries(entity: Entity) -> list[Composed]:
    """Return a statement for each criterion by which the newest record of a key is chosen, the first one first."""
    ages: list[SQL | Composed] = [SQL("i.seq")]
    if entity.newest_by:
        column = next(each for each in entity.columns if each.name == entity.newest_by)
        # A time after the observation counts as that of the observation.
        observed = "(i.observed_at at time zone 'utc')::date" if column.kind is ColumnType.DATE else "i.observed_at"
        newest_by = SQL("least(coalesce({}, '-infinity'), {})").format(Identifier("i", column.name), SQL(observed))
        ages = [newest_by, SQL("i.observed_at"), *ages]
    key, repeated_key = (SQL(", ").join(Identifier(table, name) for name in entity.key) for table in ("i", "r"))
    return [_DROP_SUPERSEDED_SQL.format(key=key, repeated_key=repeated_key, age=age) for age in ages]


def _analyzed_columns(entity: Entity) -> Composed:
    """Return the columns by which statements find rows; statistics of the others would only add to the WAL."""
    columns = dict.fromkeys((PROVIDER_ACCOUNT, "removed", *entity.key))
    return SQL(", ").join(map(Identifier, columns))
