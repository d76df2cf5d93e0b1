-- name: lock_entity
-- Rows of an entity without cursors are merged by one load at a time.
select pg_advisory_xact_lock(hashtextextended('sluice.load.' || %(entity)s, 0));

-- name: find
-- The counts of a batch that was loaded already.
select l.read, l.inserted, l.updated, l.unchanged, l.removed, l.superseded, l.stale, l.rejected
from etl.loads as l
where l.raw_id = %(raw_id)s and l.entity = %(entity)s and l.version = %(version)s;

-- name: record
-- What became of every record of the batch.
insert into etl.loads (raw_id, entity, version, read, inserted, updated, unchanged, removed, superseded, stale, rejected)
values (
    %(raw_id)s,
    %(entity)s,
    %(version)s,
    %(read)s,
    %(inserted)s,
    %(updated)s,
    %(unchanged)s,
    %(removed)s,
    %(superseded)s,
    %(stale)s,
    %(rejected)s
);
